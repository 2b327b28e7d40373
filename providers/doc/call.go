package doc

import (
	"errors"
	"fmt"
	"time"

	"beat/providers"
	"beat/streams/social"
)

// In is err with path in front of the path that its detail names, for a
// table that reads a part of an answer. Nil stays nil.
func In(path string, err *providers.Error) *providers.Error {
	if err == nil {
		return nil
	}
	out := *err
	out.Detail = path + "." + err.Detail
	return &out
}

// Named makes the errors of calls say whose they are: "source fetch: " and
// then their own text.
func Named(source string, calls map[social.Fetch]providers.Call) map[social.Fetch]providers.Call {
	out := make(map[social.Fetch]providers.Call, len(calls))
	for fetch, c := range calls {
		name := source + " " + string(fetch)
		more := c.More
		if more != nil {
			more = func(cred providers.Credential, ask social.Ask) ([]providers.Request, error) {
				r, err := c.More(cred, ask)
				if err != nil {
					return nil, label(name, err)
				}
				return r, nil
			}
		}
		out[fetch] = providers.Call{
			Classes: c.Classes,
			More:    more,
			Join:    c.Join,
			Request: func(cred providers.Credential, ask social.Ask) (providers.Request, error) {
				r, err := c.Request(cred, ask)
				if err != nil {
					return providers.Request{}, label(name, err)
				}
				return r, nil
			},
			Judge: func(ask social.Ask, a providers.Answer) *providers.Error {
				if err := c.Judge(ask, a); err != nil {
					return labelled(name, err)
				}
				return nil
			},
			Parse: func(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
				b, err := c.Parse(ask, at, body)
				if err != nil {
					return social.Batch{}, label(name, err)
				}
				return b, nil
			},
		}
	}
	return out
}

func label(name string, err error) error {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		return labelled(name, e)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func labelled(name string, err *providers.Error) *providers.Error {
	out := *err
	out.Detail = name
	if err.Detail != "" {
		out.Detail += ": " + err.Detail
	}
	return &out
}
