// Package dead reads the DEAD stream, and takes letters out of it: by sending
// what they were once more, or for good.
//
// # What is stored
//
// A letter is a message of DEAD: the message that nobody could handle, whole,
// with headers that say why (bus.DeadLetter). Its sequence is its number. It
// is never changed; it leaves the stream by Drop, by Redrive, or after 30 days.
//
// # Redriving
//
// A redriven message goes to the subject it had, in one of these ways, which
// depend on its task only:
//
//	reopened   the run that the letter is of has failed: its task becomes
//	           PROCESSING again as a new run (schedule.Reopen), and the message
//	           carries that run on
//	data only  the task goes on or has ended without it: the message belongs to
//	           no run any more. What it says is stored, nothing is asked after
//	           it, and the task stays as it is
//	kept       likewise, but the message is an ask. Nobody needs its answer, so
//	           nothing is sent, and the letter stays
//	sent       it names no task: sent as it was
//
// A message that carries a run on counts one place further in its chain than
// the dead one did. Ids downstream are made of the place, so a second failure
// is not taken for a copy of the first.
//
// # Failures
//
// The row is changed, then the message is stored, then the letter is removed.
// Killed after the first, the letter is still there: redriving it finds the run
// that it has opened; if nobody does, the lease ends and the task runs anew.
// Killed after the second, it may be redriven twice. Within two minutes the
// stream knows the id and stores it once; later the message is handled twice,
// which all stages bear.
package dead

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// ErrGone says that there is no letter of that number: it never was, somebody
// has redriven or dropped it, or it is older than 30 days.
var ErrGone = errors.New("no such dead letter")

// headerHealed is the newest version of its source's parser that a message has been
// redriven for, see Heal. It stays with the message likewise.
const headerHealed = "Beat-Healed"

// headerRedriven counts how often a message has been redriven. It stays with
// the message, so its next letter has it too.
const headerRedriven = "Beat-Redriven"

// A Letter is what the headers of a dead letter say.
type Letter struct {
	Seq         uint64    `json:"seq"` // its number
	At          time.Time `json:"at"`
	Stage       string    `json:"stage"`
	Cause       string    `json:"cause"`
	Error       string    `json:"error"`
	Fingerprint string    `json:"fingerprint"`
	Source      string    `json:"source,omitempty"`
	Parser      int       `json:"parser,omitempty"`     // version that could not read it
	Healed      int       `json:"healed,omitempty"`     // version it was redriven for before, see Heal
	Curable     int       `json:"curable_by,omitempty"` // later version that may read it, see Mark
	Flow        string    `json:"flow,omitempty"`
	Task        int64     `json:"task,omitempty"`
	Fence       int64     `json:"fence,omitempty"` // of the task's run
	Attempts    int       `json:"attempts"`
	Redriven    int       `json:"redriven,omitempty"` // how often before
	RawID       string    `json:"raw_id,omitempty"`   // of the answer
	RawSeq      uint64    `json:"raw_seq,omitempty"`  // in RAW, of a letter that comes from there
	Subject     string    `json:"subject"`            // of the message that died
	Stream      string    `json:"stream"`
	StreamSeq   uint64    `json:"stream_seq"`
	Stack       string    `json:"stack,omitempty"` // of a panic
}

// A Message is a letter with the message that it was.
type Message struct {
	Letter
	Header nats.Header // its own, without the letter's
	Data   []byte
}

func readLetter(seq uint64, h nats.Header) Letter {
	d := bus.ReadDead(h)
	redriven, _ := strconv.Atoi(h.Get(headerRedriven)) //nolint:errcheck // absent is 0
	healed, _ := strconv.Atoi(h.Get(headerHealed))     //nolint:errcheck // absent is 0
	l := Letter{
		Seq: seq, At: d.At, Stage: d.Stage, Cause: d.Cause, Error: d.Error, Fingerprint: d.Fingerprint, Source: d.Source,
		Parser: d.Parser, Healed: healed, Flow: d.Flow, Task: d.Task, Fence: d.Fence, Attempts: d.Attempts, Redriven: redriven, RawID: d.Raw,
		Subject: d.Subject, Stream: d.Stream, StreamSeq: d.Seq, Stack: d.Stack,
	}
	if d.Stream == bus.Raw {
		l.RawSeq = d.Seq
	}
	return l
}

// A Filter selects letters. A zero field selects all.
type Filter struct {
	Cause, Source, Flow, Fingerprint string
	Stage                            string    // parse is parse and all parse-…
	Since, Until                     time.Time // from Since on, before Until
	Task                             int64
	Seqs                             []uint64
}

// Empty reports whether f selects all letters.
func (f Filter) Empty() bool {
	return f.Cause == "" && f.Source == "" && f.Flow == "" && f.Fingerprint == "" && f.Stage == "" &&
		f.Since.IsZero() && f.Until.IsZero() && f.Task == 0 && len(f.Seqs) == 0
}

// Match reports whether f selects l.
func (f Filter) Match(l Letter) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.Cause, l.Cause) && is(f.Source, l.Source) && is(f.Flow, l.Flow) && is(f.Fingerprint, l.Fingerprint) &&
		(is(f.Stage, l.Stage) || strings.HasPrefix(l.Stage, f.Stage+"-")) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) && (f.Until.IsZero() || l.At.Before(f.Until)) &&
		(f.Task == 0 || f.Task == l.Task) &&
		(len(f.Seqs) == 0 || slices.Contains(f.Seqs, l.Seq))
}

// Mark notes in letters which of them a later parser may read: they are of answers,
// and the version of the source's parser now is later than that which could not.
// Whether it can, only Heal shows.
func Mark(ls []Letter, version func(source string) int) {
	for i := range ls {
		l := &ls[i]
		if v := version(l.Source); l.Parser > 0 && v > l.Parser && (l.Stream == bus.Raw || l.Stream == bus.Parsed) {
			l.Curable = v
		}
	}
}

// A Box is the DEAD stream. It is safe for concurrent use.
type Box struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Open finds the stream.
func Open(ctx context.Context, js jetstream.JetStream) (*Box, error) {
	s, err := js.Stream(ctx, bus.Dead)
	if err != nil {
		return nil, fmt.Errorf("dead letters: stream %s: %w", bus.Dead, err)
	}
	return &Box{js, s}, nil
}

const (
	page = 500 // letters of one request; 10 MB if each has a stack
	// wait is for the letters of one page, which are there. They come at once
	// unless somebody removes them meanwhile or the server is gone.
	wait = 5 * time.Second
)

// List returns the letters that f selects, the oldest first. It reads headers
// only, of the whole stream or of what is younger than Since; letters that are
// asked for by number are read one by one, and missing ones are left out.
func (b *Box) List(ctx context.Context, f Filter) ([]Letter, error) {
	if len(f.Seqs) > 0 && len(f.Seqs) <= page {
		return b.some(ctx, f)
	}
	cfg := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true, InactiveThreshold: time.Minute,
	}
	if !f.Since.IsZero() {
		// A letter says when it was written; it was stored a little later.
		since := f.Since.Add(-time.Minute)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	c, err := b.stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		b.stream.DeleteConsumer(ctx, c.CachedInfo().Name) //nolint:errcheck // it ends by itself
	}()
	var out []Letter
	for left := c.CachedInfo().NumPending; left > 0; {
		got, pending, err := fetch(ctx, c, int(min(left, page)))
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		for _, l := range got {
			if f.Match(l) {
				out = append(out, l)
			}
		}
		if left = pending; len(got) == 0 { // somebody else has removed them
			info, err := c.Info(ctx)
			if err != nil {
				return nil, fmt.Errorf("list dead letters: %w", err)
			}
			left = info.NumPending
		}
	}
	return out, nil
}

func fetch(ctx context.Context, c jetstream.Consumer, n int) (out []Letter, pending uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := c.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, 0, err
		}
		pending = meta.NumPending
		out = append(out, readLetter(meta.Sequence.Stream, m.Headers()))
	}
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return nil, 0, err
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		return nil, 0, err
	}
	return out, pending, nil
}

// some reads letters by number.
func (b *Box) some(ctx context.Context, f Filter) ([]Letter, error) {
	seqs := slices.Clone(f.Seqs)
	slices.Sort(seqs)
	var out []Letter
	for _, seq := range slices.Compact(seqs) {
		m, err := b.Get(ctx, seq)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if f.Match(m.Letter) {
			out = append(out, m.Letter)
		}
	}
	return out, nil
}

// Get reads one letter with its message. The error wraps ErrGone when there is
// none.
func (b *Box) Get(ctx context.Context, seq uint64) (Message, error) {
	raw, err := b.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrGone
	}
	if err != nil {
		return Message{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	m := Message{Letter: readLetter(seq, raw.Header), Data: raw.Data, Header: bus.Original(raw.Header, nil).Header}
	for k := range m.Header {
		if strings.HasPrefix(k, "Nats-") { // the server's, of DEAD
			delete(m.Header, k)
		}
	}
	// A body that cannot be read stays as it is: that may be why it is here.
	if plain, err := bus.Unpack(raw.Header, raw.Data); err == nil {
		m.Data = plain
		delete(m.Header, bus.HeaderEncoding)
	}
	return m, nil
}

// Drop removes a letter for good. The error wraps ErrGone when there is none.
func (b *Box) Drop(ctx context.Context, seq uint64) error {
	err := b.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has one code for all its reasons.
	if _, gone := b.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		err = ErrGone
	}
	return fmt.Errorf("drop dead letter %d: %w", seq, err)
}
