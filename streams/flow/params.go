package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Type is what a parameter holds.
type Type string

// The types of parameters.
const (
	Text  Type = "text"
	Texts Type = "list of text"
	Int   Type = "whole number of 0 or more"
	Float Type = "number"
)

// A Param is one named argument of a flow.
type Param struct {
	Name     string
	Type     Type
	Optional bool // the key may be absent
	Null     bool // the key may be null or empty
}

// Params are the arguments of one task, checked.
type Params map[string][]string

// A ParamError says which argument is wrong. Its text is that of the
// existing system, which readers of scrape_request_log.data know.
type ParamError struct {
	Param string // "" when the object itself is wrong
	Text  string
}

func (e *ParamError) Error() string { return e.Text }

// Decode reads the params column of a task: an object with exactly the
// parameters of the flow. Its error is a *ParamError.
func (f Flow) Decode(raw json.RawMessage) (Params, error) {
	var members map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&members); err != nil || members == nil {
		return nil, &ParamError{Text: fmt.Sprintf("%s() params must be a JSON object, got %s", f.Name, shape(raw))}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &ParamError{Text: fmt.Sprintf("%s() params must be one JSON object", f.Name)}
	}
	known := map[string]bool{}
	out := Params{}
	for _, p := range f.Params {
		known[p.Name] = true
		v, ok := members[p.Name]
		if !ok {
			if p.Optional {
				continue
			}
			return nil, &ParamError{p.Name, fmt.Sprintf("%s() missing 1 required positional argument: '%s'", f.Name, p.Name)}
		}
		values, err := p.read(v)
		if err != nil {
			return nil, &ParamError{p.Name, fmt.Sprintf("%s() argument '%s' %v", f.Name, p.Name, err)}
		}
		out[p.Name] = values
	}
	for name := range members {
		if !known[name] {
			return nil, &ParamError{name, fmt.Sprintf("%s() got an unexpected keyword argument '%s'", f.Name, clip(name))}
		}
	}
	for _, by := range f.Steps[0].Ask {
		if by.Param != "" && len(out[by.Param]) > 0 {
			return out, nil
		}
	}
	if f.Steps[0].Ask[0].Param == "" {
		return out, nil
	}
	return nil, &ParamError{f.Steps[0].Ask[0].Param, fmt.Sprintf("%s() needs %s", f.Name, f.needs())}
}

func (f Flow) needs() string {
	var names []string
	for _, by := range f.Steps[0].Ask {
		names = append(names, "'"+by.Param+"'")
	}
	return strings.Join(names, " or ") + " to hold a value"
}

func (p Param) read(v json.RawMessage) ([]string, error) {
	if string(v) == "null" {
		if p.Null {
			return nil, nil
		}
		return nil, fmt.Errorf("must be %s, got null", p.Type)
	}
	switch p.Type {
	case Int:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("must be a %s, got %s", p.Type, shape(v))
		}
		return []string{string(v)}, nil
	case Float:
		if _, err := strconv.ParseFloat(string(v), 64); err != nil || !json.Valid(v) {
			return nil, fmt.Errorf("must be a %s, got %s", p.Type, shape(v))
		}
		return []string{string(v)}, nil
	case Text:
		s, err := text(v)
		if err != nil {
			return nil, err
		}
		if s == "" {
			if p.Null {
				return nil, nil
			}
			return nil, errors.New("must not be empty")
		}
		return []string{s}, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		return nil, fmt.Errorf("must be a %s, got %s", p.Type, shape(v))
	}
	out := make([]string, 0, len(list))
	for i, e := range list {
		s, err := text(e)
		if err != nil {
			return nil, fmt.Errorf("element %d %w", i, err)
		}
		if s == "" {
			return nil, fmt.Errorf("element %d must not be empty", i)
		}
		out = append(out, s)
	}
	if len(out) == 0 && !p.Null {
		return nil, errors.New("must not be an empty list")
	}
	return out, nil
}

// maxText bounds identifiers: longer ones are a mistake, and travel in every
// message of the chain.
const maxText = 512

func text(v json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return "", fmt.Errorf("must be text, got %s", shape(v))
	}
	s = strings.TrimSpace(s)
	if len(s) > maxText {
		return "", fmt.Errorf("is %d bytes long, at most %d are allowed", len(s), maxText)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return "", errors.New("holds a control character")
		}
	}
	return s, nil
}

// shape names the JSON type of v without repeating its value.
func shape(v []byte) string {
	v = bytes.TrimSpace(v)
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "text"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
