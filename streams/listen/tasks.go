package listen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// Three of the queues ask for work whose flows are still to come: a message is
// checked, becomes a task row, and is acked. The row is PENDING and stays so, in
// sight of beat tasks list and why, until a build has its flow (flow.Coming).

// A Tasks turns messages into task rows.
type Tasks struct {
	queue *schedule.Queue
	db    *pgxpool.Pool
}

// NewTasks returns handlers that store tasks in queue, which is in db.
func NewTasks(queue *schedule.Queue, db *pgxpool.Pool) *Tasks { return &Tasks{queue, db} }

// Handlers are those of the three queues.
func (t *Tasks) Handlers() map[string]Handler {
	return map[string]Handler{
		KeywordQueue:         t.handle(keywordTask),
		SentimentQueue:       t.handle(sentimentTask),
		SentimentReportQueue: t.handle(reportTask),
	}
}

// window is for how long after its creation a task may be what an earlier
// delivery of a message led to. Messages come again within seconds of a lost
// connection; the next honest request for the same report is two hours away.
const window = 15 * time.Minute

// handle stores the task that read makes of a message.
func (t *Tasks) handle(read func(body []byte) (schedule.Request, error)) Handler {
	return func(ctx context.Context, d Delivery) error {
		r, err := read(d.Body)
		if err != nil {
			return err
		}
		if d.Again && r.JoinKey != nil {
			done, err := t.stored(ctx, *r.JoinKey)
			if err != nil {
				return away(err)
			}
			if done {
				return nil
			}
		}
		_, err = t.queue.Enqueue(ctx, r)
		return away(err)
	}
}

// storedSQL has an index of its own: scrape_request_log_listen_idx.
const storedSQL = `
SELECT EXISTS (SELECT FROM scrape_request_log
WHERE flow IN ('fetch_keyword_collection', 'fetch_sentiment_report') AND join_key = $1 AND created_at > $2)`

// stored reports whether the task was made a moment ago, even if it has ended
// since. One that has not ended is joined anyway.
func (t *Tasks) stored(ctx context.Context, key string) (yes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = t.db.QueryRow(ctx, storedSQL, key, time.Now().UTC().Add(-window)).Scan(&yes)
	return yes, err
}

// away marks what is Postgres's fault, not the message's: all but what it says
// of the values or of the statement.
func away(err error) error {
	if err == nil {
		return nil
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && slices.Contains([]string{"22", "23", "42"}, pg.Code[:2]) {
		return fmt.Errorf("postgres refuses the task with code %s", pg.Code) // its message may repeat values
	}
	return Outage(err)
}

// keywordTask reads contract/amqp.md 5.3. A job is one task until it has ended:
// coffee and stir ask again for a report that is not there.
func keywordTask(body []byte) (schedule.Request, error) {
	var m struct {
		JobID     *string   `json:"job_id"`
		Platform  *string   `json:"platform"`
		Keywords  *[]string `json:"keywords"`
		StartDate *string   `json:"start_date"`
		EndDate   *string   `json:"end_date"`
	}
	if err := Decode(body, &m); err != nil {
		return schedule.Request{}, err
	}
	for _, f := range []struct {
		name string
		v    *string
	}{{"job_id", m.JobID}, {"platform", m.Platform}, {"start_date", m.StartDate}, {"end_date", m.EndDate}} {
		if f.v == nil || *f.v == "" {
			return schedule.Request{}, Malformed("%s is missing", f.name)
		}
	}
	if err := name("job_id", *m.JobID); err != nil {
		return schedule.Request{}, err
	}
	if *m.Platform != string(social.Instagram) && *m.Platform != string(social.YouTube) {
		return schedule.Request{}, Ignore("its platform is neither INSTAGRAM nor YOUTUBE")
	}
	if m.Keywords == nil || len(*m.Keywords) == 0 {
		return schedule.Request{}, Malformed("keywords is missing or empty")
	}
	for i, k := range *m.Keywords {
		if strings.TrimSpace(k) == "" {
			return schedule.Request{}, Malformed("keywords[%d] is blank", i)
		}
		if strings.ContainsRune(k, 0) {
			return schedule.Request{}, Malformed("keywords[%d] holds a NUL character", i)
		}
	}
	start, err := date("start_date", *m.StartDate)
	if err != nil {
		return schedule.Request{}, err
	}
	end, err := date("end_date", *m.EndDate)
	if err != nil {
		return schedule.Request{}, err
	}
	if end.Before(start) {
		return schedule.Request{}, Malformed("end_date is before start_date")
	}
	return request(flow.KeywordCollection, social.Platform(*m.Platform), *m.JobID, m)
}

// reportTask reads contract/amqp.md 5.5. stir asks for the same collections every
// three hours.
func reportTask(body []byte) (schedule.Request, error) {
	var m struct {
		Type *string         `json:"collectionType"`
		ID   json.RawMessage `json:"collectionId"`
	}
	if err := Decode(body, &m); err != nil {
		return schedule.Request{}, err
	}
	if m.Type == nil || *m.Type == "" {
		return schedule.Request{}, Malformed("collectionType is missing")
	}
	id, err := Text("collectionId", m.ID)
	if err != nil {
		return schedule.Request{}, err
	}
	if *m.Type != "POST" {
		return schedule.Request{}, Ignore("its collectionType is not POST")
	}
	if err := name("collectionId", id); err != nil {
		return schedule.Request{}, err
	}
	return request(flow.SentimentReport, "", *m.Type+":"+id, map[string]string{"collectionType": *m.Type, "collectionId": id})
}

// A comment is what the model is asked about.
type comment struct {
	Shortcode string `json:"shortcode"`
	ID        string `json:"comment_id"`
	Text      string `json:"text"`
}

// sentimentTask reads contract/amqp.md 5.4, which is 4.6: the comments of a page
// that have an id and a text. A page without any asks for nothing. The same page
// is the same task for ever: a page that was parsed anew differs in its text.
func sentimentTask(body []byte) (schedule.Request, error) {
	var m struct {
		Platform *string `json:"platform"`
		Logs     *[]struct {
			Type       *string `json:"activity_type"`
			Post       *string `json:"platform_post_id"`
			Dimensions *[]struct {
				Key   string          `json:"key"`
				Value json.RawMessage `json:"value"`
			} `json:"dimensions"`
		} `json:"post_activity_logs"`
	}
	if err := Decode(body, &m); err != nil {
		return schedule.Request{}, err
	}
	if m.Platform == nil || *m.Platform == "" {
		return schedule.Request{}, Malformed("platform is missing")
	}
	if m.Logs == nil {
		return schedule.Request{}, Malformed("post_activity_logs is missing")
	}
	if strings.ContainsFunc(*m.Platform, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') }) {
		return schedule.Request{}, Malformed("platform is no name of one")
	}
	var comments []comment
	place := map[string]int{}
	for i, l := range *m.Logs {
		switch {
		case l.Post == nil || *l.Post == "":
			return schedule.Request{}, Malformed("post_activity_logs[%d].platform_post_id is missing", i)
		case l.Dimensions == nil:
			return schedule.Request{}, Malformed("post_activity_logs[%d].dimensions is missing", i)
		case l.Type == nil || *l.Type != social.Comment:
			continue
		}
		c := comment{Shortcode: *l.Post}
		for _, d := range *l.Dimensions {
			switch d.Key { // of two with one key the last counts (2.4)
			case "comment_id":
				c.ID, _ = Text(d.Key, d.Value) //nolint:errcheck // without one it is left out
			case "text":
				c.Text = ""
				_ = json.Unmarshal(d.Value, &c.Text) // likewise
			}
		}
		for _, s := range []*string{&c.Shortcode, &c.ID, &c.Text} { // Postgres stores none
			*s = strings.ReplaceAll(*s, "\x00", "")
		}
		if c.ID == "" || c.Shortcode == "" || strings.TrimSpace(c.Text) == "" {
			continue
		}
		if at, twice := place[c.ID]; twice {
			comments[at] = c
			continue
		}
		place[c.ID] = len(comments)
		comments = append(comments, c)
	}
	if len(comments) == 0 {
		return schedule.Request{}, Ignore("it has no comment with an id and a text")
	}
	platform := social.Platform(strings.ToUpper(*m.Platform))
	r, err := request(flow.SentimentExtraction, platform, "", map[string]any{"platform": platform, "comments": comments})
	sum := sha256.Sum256(body)
	r.JoinKey, r.IdempotencyKey = nil, new(flow.SentimentExtraction+":"+hex.EncodeToString(sum[:16]))
	return r, err
}

// request is a task that is joined as long as it has not ended.
func request(flow string, p social.Platform, key string, params any) (schedule.Request, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return schedule.Request{}, err
	}
	return schedule.Request{Flow: flow, Platform: p, Params: raw, JoinKey: new(flow + ":" + key)}, nil
}

// Decode reads one JSON object into v. Members that v does not have are passed
// over: producers may add some. The error shows no value.
func Decode(body []byte, v any) error {
	switch trimmed := bytes.TrimLeft(body, " \t\r\n"); {
	case len(trimmed) == 0:
		return Malformed("the message is empty")
	case trimmed[0] != '{':
		return Malformed("the message is no JSON object")
	case !utf8.Valid(body):
		return Malformed("the message is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return Malformed("%s is %s, want %s", wrong.Field, shape(wrong.Value), wrong.Type.Kind())
		}
		if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
			return Malformed("no JSON at byte %d", bad.Offset)
		}
		return Malformed("the message breaks off")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Malformed("something follows the JSON object")
	}
	return nil
}

// shape is the kind of a value without the value.
func shape(v string) string { return strings.Fields(v + " ")[0] }

// Text is the text of a value that may have come as a number.
func Text(name string, v json.RawMessage) (string, error) {
	var s string
	switch {
	case len(v) == 0 || string(v) == "null":
		return "", Malformed("%s is missing", name)
	case v[0] == '"':
		if err := json.Unmarshal(v, &s); err != nil {
			return "", Malformed("%s is no text", name)
		}
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		s = string(v)
	default:
		return "", Malformed("%s is neither text nor a number", name)
	}
	if s == "" {
		return "", Malformed("%s is empty", name)
	}
	return s, nil
}

// maxName is longer than any id there is, and shorter than what a file may be
// called.
const maxName = 200

// name checks an id that becomes a part of a file's name.
func name(field, v string) error {
	if len(v) > maxName {
		return Malformed("%s has %d bytes, at most %d are allowed", field, len(v), maxName)
	}
	for _, r := range v {
		if r < ' ' || r == 0x7f || r == '/' || r == '\\' {
			return Malformed("%s has a character that no file name may have", field)
		}
	}
	if v == "." || v == ".." {
		return Malformed("%s is no file name", field)
	}
	return nil
}

// date reads YYYY-MM-DD.
func date(field, v string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		return t, Malformed("%s is no date of the form YYYY-MM-DD", field)
	}
	return t, nil
}
