package retrieval

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"beat/providers"
	"beat/providers/ratelimit"
	"beat/streams/bridge"
	"beat/streams/social"
)

// requests are those of an ask: one, nearly always.
func requests(call providers.Call, c providers.Credential, a social.Ask) ([]providers.Request, error) {
	q, err := call.Request(c, a)
	if err != nil || call.More == nil {
		return []providers.Request{q}, err
	}
	more, err := call.More(c, a)
	return append([]providers.Request{q}, more...), err
}

// takings is what the calls of one ask have taken from their limit.
type takings []ratelimit.Taken

// take takes n calls or none. The last of what it returns has not been granted
// unless all were.
func (r *Retrieval) take(ctx context.Context, limit ratelimit.Spec, n int) (takings, error) {
	var got takings
	for range n {
		t, err := r.limiter.Take(ctx, limit)
		if err != nil { // ctx's
			return nil, err
		}
		if !t.OK {
			r.refund(ctx, got)
			return append(got, t), nil
		}
		got = append(got, t)
	}
	return got, nil
}

func (r *Retrieval) refund(ctx context.Context, taken takings) {
	for _, t := range taken {
		if err := r.limiter.Refund(ctx, t); err != nil {
			r.lg.Debug("call not given back to its limits", "err", err)
		}
	}
}

// A reply is what the calls of an ask came to.
type reply struct {
	answer providers.Answer // the one that counts, without secrets
	all    []providers.Answer
	err    error // no answer came
}

// call makes the calls of an ask at once, and counts them as under way
// meanwhile.
func (r *Retrieval) call(ctx context.Context, call providers.Call, a social.Ask, w choice, qs []providers.Request) reply {
	defer r.quotas.end(w.cred.ID)
	out := reply{all: make([]providers.Answer, len(qs))}
	errs := make([]error, len(qs))
	var wg sync.WaitGroup
	for i, q := range qs[1:] {
		wg.Go(func() { out.all[i+1], errs[i+1] = r.client.Do(ctx, w.provider.BaseURL, q) })
	}
	out.all[0], errs[0] = r.client.Do(ctx, w.provider.BaseURL, qs[0])
	wg.Wait()
	for i := range out.all {
		out.all[i] = WithoutSecrets(w.cred, out.all[i]) // before anything is read off it
		if errs[i] != nil && len(qs) > 1 {
			out.all[i] = providers.Answer{} // half an answer is none
		}
	}
	// Where all failed the last one says why, as it does when all were refused.
	out.answer, out.err = out.all[0], errs[len(errs)-1]
	if len(qs) == 1 {
		return out
	}
	for _, err := range errs {
		if err == nil {
			out.answer, out.err = call.Join(a, out.all), nil
			break
		}
	}
	if out.answer.Status == 0 && out.err == nil { // the one that counts did not come
		out.err = &providers.Error{Kind: providers.ErrUpstream, Message: "Something went wrong", Detail: "one of the calls got no answer"}
	}
	return out
}

// traced is the header that tells of the calls, in the order in which they were
// made.
func (r *Retrieval) traced(raw social.Raw, answers []providers.Answer) (string, error) {
	var calls []bridge.Call
	for _, a := range answers {
		if a.Status == 0 {
			continue
		}
		calls = append(calls, bridge.Call{
			ID: raw.ID, Method: a.Method, URI: a.URI, Remote: a.Remote, Headers: a.Sent, Status: a.Status,
			Millis: a.Took.Milliseconds(), Host: r.cfg.Host, At: a.At,
		})
	}
	if len(calls) == 0 {
		return "", nil
	}
	calls[0].More = calls[1:]
	text, err := json.Marshal(calls[0])
	if err != nil {
		return "", fmt.Errorf("encode trace: %w", err)
	}
	return string(text), nil
}
