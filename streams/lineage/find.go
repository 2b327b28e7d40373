package lineage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/projections"
	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// The kinds of name, beside the tables of projections.TableNames.
const (
	KindTask  = "task"
	KindRaw   = "raw"
	KindEvent = "event"
)

// Kinds are all kinds of name.
func Kinds() []string {
	return append([]string{KindTask, KindRaw, KindEvent}, projections.TableNames()...)
}

var (
	uuids  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	raws   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	number = regexp.MustCompile(`^[0-9]{1,18}$`)
)

// Parse says what a name is of: the number of a task, a raw id, an event_id, or
// kind/id for one of Kinds.
func Parse(name string) (kind, id string, err error) {
	switch {
	case uuids.MatchString(name):
		return KindEvent, strings.ToLower(name), nil
	case raws.MatchString(name):
		return KindRaw, name, nil
	case number.MatchString(name):
		return KindTask, name, nil
	}
	kind, id, ok := strings.Cut(name, "/")
	if !ok || id == "" || !slices.Contains(Kinds(), kind) || Check(kind, id) != nil {
		return "", "", fmt.Errorf("%q: want the number of a task, a raw id (32 hex digits), an event_id (a UUID), or KIND/ID with a kind of %s",
			name, strings.Join(Kinds(), ", "))
	}
	return kind, id, nil
}

// forms are what ids of a kind look like; those of rows are any text.
var forms = map[string]*regexp.Regexp{KindTask: number, KindRaw: raws, KindEvent: uuids}

// Check says what is wrong with an id of a kind.
func Check(kind, id string) error {
	if f := forms[kind]; f != nil && !f.MatchString(id) {
		return fmt.Errorf("%q is no id of a %s", id, kind)
	}
	return nil
}

// Of finds the lineage of a name, see Parse. since bounds the search for what says
// no time by itself, which is raw ids; the zero time is all there is. The error
// wraps ErrUnknown if there is no such thing.
func (t *Tracer) Of(ctx context.Context, kind, id string, since time.Time) (*Lineage, error) {
	if err := Check(kind, id); err != nil {
		return nil, err
	}
	l := &Lineage{Kind: kind, ID: id, Tasks: []*Task{}}
	s := &search{Tracer: t, since: since, answers: map[string]*Answer{}, tasks: map[int64]*Task{}, of: map[string]int64{}}
	var err error
	switch kind {
	case KindTask:
		err = s.ofTask(ctx, id)
	case KindRaw:
		err = s.ofRaw(ctx, id)
	case KindEvent:
		err = s.ofEvent(ctx, strings.ToLower(id))
	default:
		err = s.ofRow(ctx, kind, id)
	}
	if err == nil {
		err = s.complete(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("lineage of %s %s: %w", kind, id, err)
	}
	l.Notes = s.notes
	for _, task := range s.tasks {
		l.Tasks = append(l.Tasks, task)
	}
	slices.SortFunc(l.Tasks, func(a, b *Task) int { return int(a.ID - b.ID) })
	return l, nil
}

// A search is one lineage on its way.
type search struct {
	*Tracer
	since   time.Time
	answers map[string]*Answer // by raw id
	tasks   map[int64]*Task
	of      map[string]int64 // task of each raw id
	only    func(*Observation) bool
	notes   []string
}

// note says what could not be looked at, once.
func (s *search) note(text string) {
	if !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

func (s *search) ofTask(ctx context.Context, id string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number of a task: %w", id, err)
	}
	task, err := s.task(ctx, n)
	if err != nil {
		return err
	}
	if task.Flow == "" && task.Status == "" {
		return ErrUnknown
	}
	from, to := time.Time{}, time.Now().UTC()
	for _, at := range []*time.Time{task.CreatedAt, task.PickedAt} {
		if at != nil && (from.IsZero() || at.Before(from)) {
			from = *at
		}
	}
	if task.ScrapedAt != nil {
		to = *task.ScrapedAt
	}
	from, to = from.Add(-slack), to.Add(slack)
	if err := s.history(ctx, archive.Filter{Tasks: []int64{n}}, from, to); err != nil {
		return err
	}
	return s.audited(ctx, `task_id = $1 AND "timestamp" BETWEEN $2 AND $3`, n, from, to)
}

func (s *search) ofRaw(ctx context.Context, id string) error {
	var at time.Time
	err := s.entries(ctx, archive.Filter{IDs: []string{id}, Since: s.since}, func(e archive.Entry) bool {
		at = e.Observed
		return false
	})
	if err != nil {
		return err
	}
	if at.IsZero() { // its bytes are gone: the audit tables may know it
		return s.audited(ctx, `raw_id = $1 AND "timestamp" >= $2`, id, s.since)
	}
	return s.found(ctx, map[string]time.Time{id: at})
}

func (s *search) ofEvent(ctx context.Context, id string) error {
	s.only = func(o *Observation) bool { return o.EventID == id || o.ToldID == id }
	err := s.audited(ctx, `event_id = $1::uuid OR told_id = $1::uuid`, id)
	if err == nil || !errors.Is(err, ErrUnknown) {
		return err
	}
	s.only = nil
	// Not of an entity: of a task, or of a call.
	task, err := s.taskOf(ctx, id)
	if err != nil {
		return err
	}
	if task != 0 {
		return s.ofTask(ctx, strconv.FormatInt(task, 10))
	}
	of := map[string]time.Time{}
	err = s.entries(ctx, archive.Filter{Since: s.since}, func(e archive.Entry) bool {
		if slices.ContainsFunc(calls(e.ID), func(t Told) bool { return t.EventID == id }) {
			of[e.ID] = e.Observed
		}
		return len(of) == 0
	})
	if err != nil {
		return err
	}
	if len(of) == 0 {
		return ErrUnknown
	}
	return s.found(ctx, of)
}

// entries calls fn for stored answers until it has enough.
func (s *search) entries(ctx context.Context, f archive.Filter, fn func(archive.Entry) bool) error {
	for e, err := range s.Archive.Entries(ctx, f) {
		if errors.Is(err, archive.ErrNone) {
			s.note(elsewhere)
			return nil
		}
		if err != nil {
			return err
		}
		if !fn(e) {
			return nil
		}
	}
	return nil
}

const elsewhere = "some of it is in the archive, and this process does not know where that is: set S3_BUCKET"

// taskOf is the task of whose transition an event_id is, 0 for none. The row knows
// its last run, EVENTS the others for as long as it keeps them.
func (s *search) taskOf(ctx context.Context, id string) (task int64, err error) {
	rows, err := s.DB.Query(ctx, `SELECT id, coalesce(fence, 0) FROM scrape_request_log`)
	if err != nil {
		return 0, fmt.Errorf("read tasks: %w", err)
	}
	var n, fence int64
	_, err = pgx.ForEachRow(rows, []any{&n, &fence}, func() error {
		for _, status := range []string{social.Pending, social.Processing, social.Complete, social.Failed} {
			if event.TaskEventID(n, fence, status) == id {
				task = n
			}
		}
		return nil
	})
	if err != nil || task != 0 {
		return task, err
	}
	scan := bus.Scan{Stream: bus.Events, Subjects: []string{"beat.event.*.*." + event.KindTask}, Since: s.since}
	err = scan.Each(ctx, s.JS, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil || !strings.Contains(string(data), id) {
			return err
		}
		var e event.Task
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		task = e.ID
		return bus.ErrEnough
	})
	return task, err
}

func (s *search) ofRow(ctx context.Context, table, entity string) error {
	platform, kind, key, ok, err := projections.Find(ctx, s.DB, table, entity)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("there is no kind %q: want one of %s", table, strings.Join(Kinds(), ", "))
	}
	rows, err := projections.Rows(ctx, s.DB, platform, kind, []string{key})
	if err != nil {
		return err
	}
	row := rows[key]
	if row == nil {
		return ErrUnknown
	}
	s.only = func(o *Observation) bool { return o.Kind == kind && o.Key == key && len(o.Columns) > 0 }
	from := map[string]time.Time{}
	for _, c := range row.Columns {
		from[c.Raw] = c.At
	}
	return s.found(ctx, from)
}
