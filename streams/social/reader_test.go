package social

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is JSON and what is not is what encoding/json says.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		``, ` `, `null`, `nul`, `nullx`, `true `, `truefalse`, `"a"`, `"a`, `"\"`, `"\\"`, `"\u12"`, `"\u12aG"`, `"\ud83c\udfc3"`, `"\x"`, "\"\n\"", "\"\x7f\xff\"",
		`0`, `-0`, `01`, `-`, `1.`, `1.5`, `.5`, `1e5`, `1E+5`, `1e`, `1e-`, `--1`, `+1`, `1 2`, `NaN`,
		`[]`, `[ ]`, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[1`, `[1}`, `[[[]]]`,
		`{}`, `{ "a" : 1 }`, `{"a":1,"a":2}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1 "b":2}`, `{a:1}`, `{1:1}`, `{"a":1]`, `{"a":1}}`, `{`,
		`{"a":[{"b":[]},"c"],"d":{}}`, "\ufeff{}", "\x00", "{}\x00", "{\"a\":\v1}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := json.Valid(data)
		for name, read := range map[string]func(*Reader){
			"Raw": func(r *Reader) { r.Raw() },
			"Members": func(r *Reader) {
				for range r.Members() {
					r.Raw()
				}
			},
			"Members, unread": func(r *Reader) {
				for range r.Members() { //nolint:revive // that is the test
				}
			},
			"Elements": func(r *Reader) {
				for range r.Elements() {
					r.Text()
				}
			},
			"KVs": func(r *Reader) { r.KVs() },
			"Log": func(r *Reader) { r.Log() },
		} {
			r := NewReader(data)
			read(r)
			if got := r.Err() == nil; got != want {
				t.Errorf("%s: %q is JSON: got %v, want %v", name, data, got, want)
			}
		}
		var text string
		r := NewReader(data)
		got := r.Text()
		if want && json.Unmarshal(data, &text) == nil && text != strings.ToValidUTF8(got, "\ufffd") && !strings.Contains(text, "\ufffd") {
			t.Errorf("text of %q: got %q, want %q", data, got, text)
		}
	})
}

func TestReader(t *testing.T) {
	r := NewReader([]byte(` {"text":"a\n\u00e9","number":7,"no number":"x","yes":true,"no":0,"raw":[1, {"a":2}],"skipped":{"a":[]},"list":[1,"two",[3]],"not a list":7,"":""} `))
	got := map[string]any{}
	for key := range r.Members() {
		switch key {
		case "text", "":
			got[key] = r.Text()
		case "number", "no number":
			got[key] = r.Int()
		case "yes", "no":
			got[key] = r.True()
		case "raw":
			got[key] = string(r.Raw())
		case "list", "not a list":
			got[key] = []string{}
			for i := range r.Elements() {
				if i != 1 {
					got[key] = append(got[key].([]string), string(r.Raw()))
				}
			}
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"text": "a\n\u00e9", "number": 7, "no number": 0, "yes": true, "no": false, "raw": `[1, {"a":2}]`,
		"list": []string{"1", "[3]"}, "not a list": []string{}, "": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A loop that is left early has not seen whether the rest is JSON.
func TestReaderLeftEarly(t *testing.T) {
	r := NewReader([]byte(`{"a":1,"b":2}`))
	for range r.Members() {
		break
	}
	if r.Err() == nil {
		t.Error("no error, want one")
	}
}

// Deep nesting is an error, not the end of the stack.
func TestReaderTooDeep(t *testing.T) {
	for _, n := range []int{deepest, 100 * deepest} {
		r := NewReader([]byte(strings.Repeat("[", n) + strings.Repeat("]", n)))
		r.Raw()
		if got, want := r.Err() == nil, n == deepest; got != want {
			t.Errorf("depth %d is read: got %v, want %v", n, got, want)
		}
	}
}
