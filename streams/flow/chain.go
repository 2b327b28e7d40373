package flow

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"beat/streams/social"
)

// First is the first ask of a task. known is what the flow's Lookup gave.
func (f Flow) First(t social.TaskRef, p Params, known string) (social.Ask, error) {
	st := social.State{Known: known}
	if h := p["handle"]; len(h) > 0 {
		st.Handle = h[0]
	}
	for _, name := range f.Keep {
		if len(p[name]) > 0 {
			if st.Args == nil {
				st.Args = map[string][]string{}
			}
			st.Args[name] = p[name]
		}
	}
	a := social.Ask{Task: t, State: st}
	if c := p["cursor"]; len(c) > 0 {
		a.Cursor = c[0]
	}
	for i, s := range f.Steps {
		if s.Only != nil && !s.Only(st) {
			continue
		}
		for _, by := range s.Ask {
			keys := by.keys(p, st)
			if len(keys) == 0 {
				continue
			}
			a.Step, a.Fetch, a.Keys = i, by.Fetch, keys
			if s.Batch > 0 {
				a.Keys, a.State.Rest = batch(keys, s.Batch)
			}
			a.Handle = s.asker(a.State)
			return a, nil
		}
		break
	}
	return social.Ask{}, &ParamError{f.Steps[0].Ask[0].Param, fmt.Sprintf("%s() needs %s", f.Name, f.needs())}
}

// keys are what is asked for, none when that is not known. p is nil after the
// first ask of a task.
func (by By) keys(p Params, st social.State) []string {
	if by.State != nil {
		if key := by.State(st); key != "" {
			return []string{key}
		}
		return nil
	}
	keys := p[by.Param]
	if len(keys) > 0 {
		for _, name := range by.With {
			keys = append(slices.Clip(keys), p[name]...)
		}
	}
	return keys
}

// asker is whose credential the step is asked with, "" for any.
func (s Step) asker(st social.State) string {
	if s.Bound {
		return st.Handle
	}
	return ""
}

func batch(keys []string, n int) (now, rest []string) {
	if len(keys) <= n {
		return keys, nil
	}
	return keys[:n], keys[n:]
}

// An Outcome is what a chain needs to know of a parsed answer.
type Outcome struct {
	Source     string    // that answered
	At         time.Time // when
	Items      int       // logs that pages count: posts, people or activities of a page
	Oldest     time.Time // of the page's posts; zero when none has a time
	ProfileID  string    // of the profile in the answer, "" when there is none
	Found      string    // see Step.Find
	MediaCount *int64
	Cursor     string
	More       bool
}

// Summary is what the chain of b.Ask needs to know of the answer that b is.
func (f Flow) Summary(b social.Batch) Outcome {
	o := summary(b)
	if s := f.Steps[b.Ask.Step]; s.Find != nil {
		o.Found = s.Find(b.Ask.State, b.Logs)
	}
	return o
}

// Made is the logs of b as the flow has them, see Step.Make. They share no
// memory with b that is written to.
func (f Flow) Made(b social.Batch) []social.Log {
	if b.Ask.Step < 0 || b.Ask.Step >= len(f.Steps) || f.Steps[b.Ask.Step].Make == nil {
		return b.Logs
	}
	a := b.Ask
	a.State = learn(a.State, f.Summary(b))
	return f.Steps[a.Step].Make(a, slices.Clone(b.Logs))
}

// learn is what a chain knows after an answer.
func learn(s social.State, o Outcome) social.State {
	if o.ProfileID != "" && s.ProfileID == "" {
		s.ProfileID, s.MediaCount = o.ProfileID, o.MediaCount
	}
	if s.Found == "" {
		s.Found = o.Found
	}
	return s
}

func summary(b social.Batch) Outcome {
	o := Outcome{Source: b.Raw.Source, At: b.Raw.At, Cursor: b.Cursor, More: b.More}
	for _, l := range b.Logs {
		switch l.Kind {
		case social.Profile:
			o.ProfileID = l.Key
			if n, ok := l.Metrics.Int("media_count"); ok {
				o.MediaCount = &n
			}
		case social.Post:
			o.Items++
			if n, ok := l.Dimensions.Int("taken_at_timestamp"); ok {
				if t := time.Unix(n, 0).UTC(); o.Oldest.IsZero() || t.Before(o.Oldest) {
					o.Oldest = t
				}
			}
		case social.Activity, social.Relationship:
			o.Items++
		}
	}
	return o
}

// Next is the ask that follows a parsed answer to a. When there is none the
// task is done, and final says how its run ended.
func (f Flow) Next(a social.Ask, o Outcome) (next social.Ask, final *social.Final) {
	s := f.Steps[a.Step]
	n := a
	n.Seq++
	n.Try, n.Turn, n.Attempts, n.Waits = 0, 0, nil, ""
	n.State = learn(n.State, o)
	if !s.Pages.Free || a.Page > 0 {
		n.State.Items += o.Items
	}
	if s.goesOn(n, o) {
		n.Page++
		n.Cursor, n.Source = o.Cursor, o.Source
		return n, nil
	}
	if len(n.State.Rest) > 0 {
		n.Page++
		n.Cursor, n.Source = "", ""
		n.Keys, n.State.Rest = batch(n.State.Rest, s.Batch)
		return n, nil
	}
	return f.leave(n)
}

func (s Step) goesOn(a social.Ask, o Outcome) bool {
	p := s.Pages
	switch {
	case !o.More || o.Cursor == "" || p.Max == 0: // an empty cursor would begin again at page one
		return false
	case o.Cursor == a.Cursor: // it would go round for ever
		return false
	case a.Page+1 >= p.Max, o.Items == 0:
		return false
	case p.Free && a.Page == 0:
		return true
	case p.enough(a.State):
		return false
	case p.Back > 0 && !o.Oldest.IsZero() && o.Oldest.Before(o.At.Add(-p.Back)):
		return false
	}
	return true
}

// enough reports whether as much was collected as is wanted.
func (p Pages) enough(st social.State) bool {
	most := p.Items
	if n, err := strconv.Atoi(st.Arg(p.Limit)); err == nil && n > 0 {
		most = n
	}
	return st.Items > most || p.Reach && st.Items == most
}

// leave ends the step of n and begins the next one that is to be taken.
func (f Flow) leave(n social.Ask) (social.Ask, *social.Final) {
	for n.Step++; n.Step < len(f.Steps); n.Step++ {
		s := f.Steps[n.Step]
		if s.Only != nil && !s.Only(n.State) {
			continue
		}
		for _, by := range s.Ask {
			keys := by.keys(nil, n.State)
			if len(keys) == 0 {
				continue
			}
			n.Fetch, n.Keys, n.Cursor, n.Source = by.Fetch, keys, "", ""
			n.Page, n.State.Items, n.State.Rest = 0, 0, nil
			n.Handle = s.asker(n.State)
			return n, nil
		}
	}
	end := &social.Final{Status: social.Complete, Data: "None"}
	if f.Result != nil {
		end.Data = f.Result(n.State)
	}
	if f.Full {
		end.Refreshed = n.State.ProfileID
	}
	return social.Ask{}, end
}

// Candidates are the sources to ask, in order: the one that the chain sticks
// to while paginating, else all that have not failed this step.
func Candidates(a social.Ask) []string {
	if a.Source != "" && !a.Failed(a.Source) {
		return []string{a.Source}
	}
	all := slices.Clone(Sources[a.Fetch])
	if first := drawn(a); first != "" {
		i := slices.Index(all, first)
		copy(all[1:i+1], all[:i])
		all[0] = first
	}
	return slices.DeleteFunc(all, a.Failed)
}

// drawn is the source that a run begins with, "" where none is drawn. The draw
// follows from the run and the step, so that a redelivered ask draws the same.
func drawn(a social.Ask) string {
	draw := Draws[a.Fetch]
	var sum uint32
	for _, w := range draw {
		sum += w.Weight
	}
	if sum == 0 {
		return ""
	}
	h := fnv.New32a()
	fmt.Fprint(h, social.ID("draw", a.Task.ID, a.Task.Fence, a.Step))
	n := h.Sum32() % sum
	for _, w := range draw {
		if n < w.Weight {
			return w.Source
		}
		n -= w.Weight
	}
	return ""
}

// Fail is what follows when a source has failed an ask for good. usable says
// which sources could be asked at all. There are three ways on: another
// source, from the first page of the step, since a cursor means nothing to
// it; the next step, when this one is optional; or the end of the task.
//
// answered tells the second and third from the first: the ask is over, and
// counts as an answer without logs.
func (f Flow) Fail(a social.Ask, t social.Attempt, usable func(source string) bool) (next social.Ask, final *social.Final, answered bool) {
	n := a
	n.Attempts = append(slices.Clone(a.Attempts), t)
	n.Try, n.Waits = 0, "" // not Turn: a restart must not come to an earlier id
	n.Turn++
	n.Source = ""
	if slices.ContainsFunc(Candidates(n), usable) {
		if f.Steps[a.Step].Pages.Max > 0 {
			n.Page, n.Cursor, n.State.Items = 0, "", 0
		}
		return n, nil, false
	}
	return f.GiveUp(n)
}

// GiveUp ends the step of an ask for which no source is left.
func (f Flow) GiveUp(a social.Ask) (next social.Ask, final *social.Final, answered bool) {
	if s := f.Steps[a.Step]; !s.Optional && !(s.Partial && a.Seq > 0) {
		data := Reason(a.Attempts)
		if len(a.Attempts) == 0 && s.Nobody != "" {
			data = s.Nobody
		}
		return social.Ask{}, &social.Final{Status: social.Failed, Data: data}, true
	}
	n := a
	n.Seq++
	n.Try, n.Turn, n.Attempts, n.Waits = 0, 0, nil, ""
	next, final = f.leave(n)
	return next, final, true
}

// Restart is an ask whose sources are to be asked once more, but for those
// whose failure counts: from the first page of its step.
func (f Flow) Restart(a social.Ask, counts func(social.Attempt) bool) social.Ask {
	a.Attempts = slices.DeleteFunc(slices.Clone(a.Attempts), func(t social.Attempt) bool { return !counts(t) })
	a.Source, a.Try = "", 0
	a.Turn++
	if f.Steps[a.Step].Pages.Max > 0 {
		a.Page, a.Cursor, a.State.Items = 0, "", 0
	}
	return a
}

// Reason is the data of a failed task. It begins the way its readers match
// it (contract/http.md 8): the tuple of the last source that gave an answer.
// Several attempts are listed after it.
func Reason(attempts []social.Attempt) string {
	if len(attempts) == 0 {
		return "No source is available at the moment"
	}
	last := attempts[len(attempts)-1]
	for _, t := range slices.Backward(attempts) {
		if t.Status != 0 {
			last = t
			break
		}
	}
	message, _, _ := strings.Cut(last.Reason, ": ")
	quote := "'"
	if strings.Contains(message, "'") {
		quote, message = `"`, strings.ReplaceAll(message, `"`, "'")
	}
	out := fmt.Sprintf("(%d, %s%s%s)", last.Status, quote, message, quote)
	if len(attempts) == 1 {
		return out
	}
	for i, t := range attempts {
		sep := "; "
		if i == 0 {
			sep = " "
		}
		out += fmt.Sprintf("%s%s: %s %d %s", sep, t.Source, t.Verdict, t.Status, t.Reason)
	}
	return out
}
