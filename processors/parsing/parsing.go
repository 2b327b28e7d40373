// Package parsing reads raw answers into the common model. It is pure: the
// same answer gives the same batch, and the next ask of the chain with it.
package parsing

import (
	"context"
	"errors"
	"log/slog"

	"beat/processors"
	"beat/providers"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A Parsing is the stage.
type Parsing struct {
	lg        *slog.Logger
	providers providers.Set
}

// New returns the stage.
func New(lg *slog.Logger, set providers.Set) *Parsing { return &Parsing{lg, set} }

// Handle is the bus.Handler of raw answers.
func (p *Parsing) Handle(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
	if v := m.Header.Get(processors.HeaderVerdict); v != processors.OK {
		return nil, bus.Drop("not to be parsed: " + v)
	}
	raw, a, err := processors.ReadRaw(m.Header)
	if err != nil {
		return nil, bus.Park("malformed", err)
	}
	f, ok := flow.ByName(a.Task.Flow)
	if !ok || a.Step < 0 || a.Step >= len(f.Steps) {
		return nil, bus.Park("malformed", errors.New("ask: unknown flow "+a.Task.Flow))
	}
	if !p.providers.Answers(raw.Source, a.Fetch) {
		return nil, bus.Park("unknown provider", errors.New(raw.Source+" "+string(a.Fetch)))
	}
	provider := p.providers[raw.Source]
	b, err := provider.Calls[a.Fetch].Parse(a, raw.At, m.Data)
	if err != nil {
		return p.malformed(m, f, a, raw, provider, err)
	}
	b.Ask, b.Raw, b.Parser = a, raw, provider.Parser
	next, final := f.Next(a, f.Summary(b))
	b.Final = final
	parsed, err := processors.ParsedOut(b)
	if err != nil {
		return nil, err
	}
	outs := []bus.Out{parsed}
	if final == nil {
		o, err := schedule.AskOut(next)
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
	}
	return outs, nil
}

// malformed keeps the answer as a dead letter, for a person and for the next
// parser, and asks the next source meanwhile.
func (p *Parsing) malformed(m *bus.Msg, f flow.Flow, a social.Ask, raw social.Raw, provider *providers.Provider, cause error) ([]bus.Out, error) {
	e := &providers.Error{Kind: providers.ErrMalformed, Status: raw.Status, Message: "API Failure", Detail: cause.Error()}
	var own *providers.Error
	if errors.As(cause, &own) {
		e = own
	}
	p.lg.Warn("answer cannot be read", "provider", raw.Source, "fetch", a.Fetch, "raw", raw.ID, "err", cause)
	next, final, answered := f.Fail(a, processors.Attempt(raw.Source, e),
		func(source string) bool { return p.providers.Answers(source, a.Fetch) })
	outs, err := processors.Onward(a, raw, next, final, answered)
	if err != nil {
		return nil, err
	}
	return append([]bus.Out{bus.Letter(m, "parse", "malformed", cause, bus.ReadBy(provider.Parser))}, outs...), nil
}
