package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// status of an envelope.
type status struct {
	Type    string `json:"type"` // SUCCESS
	Message string `json:"message"`
}

func success(message string) status { return status{"SUCCESS", message} }

type errorStatus struct {
	Type    string `json:"type"` // ERROR
	Message string `json:"message"`
	Code    int    `json:"code,omitempty"`
}

// A doneAnswer is a success that says no more.
type doneAnswer struct {
	Status status `json:"status"`
}

type errorAnswer struct {
	Status errorStatus `json:"status"`
}

// fail answers a business error: HTTP 200, the code is in the envelope.
func fail(w http.ResponseWriter, code int, message string) {
	reply(w, http.StatusOK, errorAnswer{errorStatus{"ERROR", message, code}})
}

type detail struct {
	Detail string `json:"detail"`
}

func notFound(w http.ResponseWriter) { reply(w, http.StatusNotFound, detail{"Not Found"}) }

// A problem is one thing wrong with a request.
type problem struct {
	Loc  []any          `json:"loc"`
	Msg  string         `json:"msg"`
	Type string         `json:"type"`
	Ctx  map[string]any `json:"ctx,omitempty"`
}

type invalidAnswer struct {
	Detail []problem `json:"detail"`
}

func invalid(w http.ResponseWriter, problems ...problem) {
	reply(w, http.StatusUnprocessableEntity, invalidAnswer{problems})
}

// reply writes v as compact JSON, with UTF-8 unescaped.
func reply(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // our own types hold no NaN and no cycles; the handler answers 500
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) //nolint:errcheck // the client is gone
}

// stamp is t without zone, with microseconds only where there are any.
func stamp(t *time.Time) *string {
	if t == nil {
		return nil
	}
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return new(t.UTC().Format(layout))
}

// boolean reads a declared boolean of contract 1.4.
func boolean(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1", "on", "yes", "t", "y":
		return true, true
	case "false", "0", "off", "no", "f", "n":
		return false, true
	}
	return false, false
}

// truthy reads full_refresh and force_refresh: everything but a word for no.
func truthy(s string) bool {
	v, ok := boolean(s)
	return s != "" && (v || !ok)
}
