package doc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"beat/providers"
)

// walk is 1.2 of the contract, one segment at a time over decoded JSON.
func walk(v any, path string) any {
	for seg := range strings.SplitSeq(path, ".") {
		switch c := v.(type) {
		case map[string]any:
			v = c[seg]
		case []any:
			v = nil
			if digits(seg) {
				for i, e := range c {
					if strings.TrimLeft(seg, "0") == strings.TrimLeft(json.Number(itoa(i)).String(), "0") {
						v = e
					}
				}
			}
		default:
			v = nil
		}
	}
	return v
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func itoa(i int) string {
	b, _ := json.Marshal(i)
	return string(b)
}

var paths = []string{"a", "a.b", "a.b.c", "a.0", "a.1.b", "0", "0.a", "a.0.0", "b", "a.b.0.c", "12", "media.user.pk"}

func decode(b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return errors.New("no JSON")
	}
	return v
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// plain is v without the NUL characters in its texts and names.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		out := map[string]any{}
		for k, c := range v {
			out[strings.ReplaceAll(k, "\x00", "")] = plain(c)
		}
		return out
	}
	return v
}

// repeats reports whether some object has a member twice: which of them
// counts is not defined.
func repeats(n Node) bool {
	seen, twice := map[string]bool{}, false
	n.Each(func(k string, v Node) {
		twice = twice || seen[k] || repeats(v)
		seen[k] = true
	})
	for _, v := range n.List() {
		twice = twice || repeats(v)
	}
	return twice
}

func TestAt(t *testing.T) {
	const body = `{"a":{"b":[{"c":"x"},7],"0":"zero"},"s":"{\"b\":1}","n":null,"f":false,"l":[[1,2],{"b":null}],"e":{}}`
	root, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a.b.0.c": `"x"`, "a.b.1": `7`, "a.b.2": `null`, "a.b.x": `null`, "a.b.c": `null`, "a.0": `"zero"`,
		"s.b": `null`, "n.b": `null`, "f": `false`, "f.b": `null`, "l.0.1": `2`, "l.1.b": `null`, "l.1.b.c": `null`,
		"l.-1": `null`, "l.99999999999999999999": `null`, "e": `{}`, "x.y.z": `null`, "": body,
	} {
		if got := string(root.At(path).Raw()); got != want {
			t.Errorf("At(%q) = %s, want %s", path, got, want)
		}
	}
	if got := string(root.At("s").At("b").Raw()); got != "null" {
		t.Errorf("a member of a text is %s, want null", got)
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		" {\n\t\"a\" : [ 1 , 2 ] }\r\n":    `{"a":[1,2]}`,
		`{"a":"\u00e4 b\u20AC"}`:           `{"a":"ä b€"}`,
		`"\ud83d\ude00"`:                   `"😀"`,
		`"\ud83d"`:                         "\"\ufffd\"",
		`"\ude00\ud83d\ude00"`:             "\"\ufffd😀\"",
		`"\ud83dx\u0041"`:                  "\"\ufffdxA\"",
		`"\u0000a\u0000"`:                  `"a"`,
		`"\u0022\u005c\u000a\u0001\u007f"`: "\"\\\"\\\\\\n\\u0001\x7f\"",
		`"https:\/\/x.example\/\\/"`:       `"https://x.example/\\/"`,
		`"a\tb \" , : {} [ ]"`:             `"a\tb \" , : {} [ ]"`,
		"\"\xff\xfe\"":                     "\"\ufffd\"",
		`{"\u0061":1,"\/":2}`:              `{"a":1,"/":2}`,
		` -1.5E+3 `:                        `-1.5E+3`,
	} {
		n, err := Parse([]byte(in))
		if err != nil || string(n.Raw()) != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", in, n.Raw(), err, want)
		}
	}
	for in, want := range map[string]string{
		"":               "empty",
		" \n":            "empty",
		"<html>":         "HTML",
		`{"a":`:          "cut off",
		"upstream error": "text",
		"{\"a\":\"\n\"}": "cut off",
		strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000): "nested",
		strings.Repeat("[", 50_000_000):                             "nested",
	} {
		_, err := Parse([]byte(in))
		if err == nil || !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Detail, want) {
			t.Errorf("Parse(%.20q): %v, want one that says %q", in, err, want)
		}
	}
	// Many brackets are no depth, and those in texts are none at all.
	for _, in := range []string{
		"[" + strings.Repeat("[],", 5000) + "[]]",
		`"` + strings.Repeat(`[{\"`, 5000) + `"`,
	} {
		if _, err := Parse([]byte(in)); err != nil {
			t.Errorf("Parse(%.20q): %v", in, err)
		}
	}
}

func TestConversions(t *testing.T) {
	const fails = "fails"
	for _, tt := range []struct {
		name     string
		conv     Conv
		in, want string
	}{
		{"Raw", Raw, `{"a": [1, "x"]}`, `{"a":[1,"x"]}`},
		{"Raw", Raw, `null`, `null`},
		{"Count", Count, `12`, `12`},
		{"Count", Count, `-1`, `-1`},
		{"Count", Count, `21.4`, `21.4`},
		{"Count", Count, `" 12 "`, `12`},
		{"Count", Count, `""`, `null`},
		{"Count", Count, `null`, `null`},
		{"Count", Count, `"1.2M"`, fails},
		{"Count", Count, `"01"`, fails},
		{"Count", Count, `"NaN"`, fails},
		{"Count", Count, `true`, fails},
		{"Count", Count, `[]`, fails},
		{"Str", Str, `4811223344`, `"4811223344"`},
		{"Str", Str, `"x"`, `"x"`},
		{"Str", Str, `true`, `"True"`},
		{"Str", Str, `false`, `"False"`},
		{"Str", Str, `{"a": 1}`, `"{\"a\":1}"`},
		{"Str", Str, `null`, `null`},
		{"Int", Int, `"321"`, `321`},
		{"Int", Int, `"-5"`, `-5`},
		{"Int", Int, `"007"`, `7`},
		{"Int", Int, `12.9`, `12`},
		{"Int", Int, `-12.9`, `-12`},
		{"Int", Int, `1e3`, `1000`},
		{"Int", Int, `1e300`, fails},
		{"Int", Int, `true`, `1`},
		{"Int", Int, `false`, `0`},
		{"Int", Int, `null`, `null`},
		{"Int", Int, `"12.5"`, fails},
		{"Int", Int, `""`, fails},
		{"Int", Int, `"1.2M"`, fails},
		{"Int", Int, `"1_000"`, fails},
		{"Int", Int, `[]`, fails},
		{"Bool", Bool, `0`, `false`},
		{"Bool", Bool, `0.0`, `false`},
		{"Bool", Bool, `1`, `true`},
		{"Bool", Bool, `""`, `false`},
		{"Bool", Bool, `"false"`, `true`},
		{"Bool", Bool, `[]`, `false`},
		{"Bool", Bool, `{}`, `false`},
		{"Bool", Bool, `[0]`, `true`},
		{"Bool", Bool, `{"a":0}`, `true`},
		{"Bool", Bool, `null`, `null`},
		{"JSON", JSON, `{"b":[1,{"a":null}],"a":"x"}`, `"{\"b\": [1, {\"a\": null}], \"a\": \"x\"}"`},
		{"JSON", JSON, `["ä😀</a>&\u007f\n\u0008\f\u0001"]`, `"[\"\\u00e4\\ud83d\\ude00</a>&\\u007f\\n\\b\\f\\u0001\"]"`},
		{"JSON", JSON, `[]`, `"[]"`},
		{"JSON", JSON, `null`, `"null"`},
		{"Soft JSON", Soft(JSON), `null`, `null`},
		{"EpochISO", EpochISO, `"2023-09-24T10:06:40+0000"`, `1695550000`},
		{"EpochISO", EpochISO, `"2023-09-24T15:36:40+0530"`, `1695550000`},
		{"EpochISO", EpochISO, `"2023-09-24T10:06:40Z"`, fails},
		{"EpochISO", EpochISO, `1695550000`, fails},
		{"EpochISO", EpochISO, `null`, fails},
		{"EpochRFC", EpochRFC, `"2015-03-04T05:06:07.891Z"`, `1425445567`},
		{"EpochRFC", EpochRFC, `"2015-03-04T05:06:07Z"`, `1425445567`},
		{"EpochRFC", EpochRFC, `"yesterday"`, fails},
		{"EpochRFC", EpochRFC, `null`, fails},
		{"Soft EpochRFC", Soft(EpochRFC), `null`, `null`},
		{"Soft EpochRFC", Soft(EpochRFC), `""`, fails},
		{"Const", Const([]byte("true")), `null`, `true`},
		{"OneOf", OneOf(map[string]string{"2": "two"}, nil), `2`, `"two"`},
		{"OneOf", OneOf(map[string]string{"2": "two"}, nil), `"2"`, `null`},
		{"OneOf", OneOf(nil, map[string]string{"2": "two"}), `"2"`, `"two"`},
		{"OneOf", OneOf(nil, map[string]string{"2": "two"}), `2`, `null`},
		{"OneOf", OneOf(nil, map[string]string{"": "none"}), `[]`, `null`},
	} {
		n, bad := Parse([]byte(tt.in))
		if bad != nil {
			t.Fatal(bad)
		}
		got, err := tt.conv(n)
		if err != nil {
			got = json.RawMessage(fails)
		}
		if string(got) != tt.want {
			t.Errorf("%s of %s = %s (%v), want %s", tt.name, tt.in, got, err, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := NewTable([]Row{
		{Key: "n", Path: "c.n", Conv: Count},
	}, []Row{
		{Key: "first", Path: "l.0.x"},
		{Key: "third", Path: "l.2.x"},
		{Key: "all", Path: "l"},
		{Key: "hard", Path: "h.k", Hard: true},
		{Key: "const", Conv: Const([]byte("true"))},
		{Key: "or", Path: "o.none", Or: []string{"o.no", "o.yes"}},
		{Key: "first again", Path: "l.0.x", Conv: Str},
	}, "h.k", "absent")
	show := func(body string) string {
		n, bad := Parse([]byte(body))
		if bad != nil {
			t.Fatal(bad)
		}
		v, err := table.Read(n)
		if err != nil {
			return err.Detail
		}
		key, err := v.PickText("h.k")
		if err != nil {
			return err.Detail
		}
		if !v.Pick("absent").Null() {
			t.Error("a value that is not there is not null")
		}
		return string(v.Dimensions.AppendJSON(v.Metrics.AppendJSON(nil))) + key
	}
	for in, want := range map[string]string{
		`{"h":{"k":7},"l":[{"x":1},{"x":2}],"c":{"n":"5"},"o":{"yes":"y"}}`: `{"n":5}{"first":1,"third":null,"all":[{"x":1},{"x":2}],"hard":7,"const":true,"or":"y","first again":"1"}7`,
		`{"h":{"k":"a"}}`:                   `{"n":null}{"first":null,"third":null,"all":null,"hard":"a","const":true,"or":null,"first again":null}a`,
		`{"h":{"k":"a"},"l":{"0":{"x":4}}}`: `{"n":null}{"first":4,"third":null,"all":{"0":{"x":4}},"hard":"a","const":true,"or":null,"first again":"4"}a`,
		`{"h":{"k":"a"},"c":[],"l":"text"}`: `{"n":null}{"first":null,"third":null,"all":"text","hard":"a","const":true,"or":null,"first again":null}a`,
		`{"h":{"k":null}}`:                  "h.k is missing",
		`{"h":7}`:                           "h.k is missing",
		`{}`:                                "h.k is missing",
		`7`:                                 "h.k is missing",
		`{"h":{"k":""}}`:                    "h.k is empty",
		`{"h":{"k":[]}}`:                    "h.k is a list, want text",
		`{"h":{"k":1},"c":{"n":[]}}`:        "c.n: a list, want a count",
	} {
		if got := show(in); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestIn(t *testing.T) {
	if In("x", nil) != nil {
		t.Error("no error became one")
	}
	err := providers.Malformed("b is missing")
	if got := In("a.0", err).Detail; got != "a.0.b is missing" || err.Detail != "b is missing" {
		t.Errorf("got %q, and %q before", got, err.Detail)
	}
}

// FuzzParse checks Parse, paths and a table against encoding/json.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[{"c":"x"},7]},"12":[[0]]}`, `[{"a":1}]`, `"{\"a\":1}"`, `{"a":"\ud83d\ude00\u0000\/"}`,
		`{"a":[{"b":{"c":1}},{"b":2}]}`, "{ \"media\" : { \"user\": {\"pk\": 1e5 }}}\n", "{\"a\":\"\xff\"}", `{"\u0061":1}`,
	} {
		f.Add([]byte(s))
	}
	var rows []Row
	for _, p := range paths {
		rows = append(rows, Row{Key: p, Path: p})
	}
	table := NewTable(nil, rows, paths...)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, bad := Parse(body)
		if bad != nil {
			if json.Valid(body) && !strings.Contains(bad.Detail, "nested") {
				t.Fatalf("valid JSON was turned down: %v", bad)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("invalid JSON was let in")
		}
		var compact bytes.Buffer
		raw := n.Raw()
		if err := json.Compact(&compact, raw); err != nil || !bytes.Equal(compact.Bytes(), raw) {
			t.Fatalf("%q is not compact: %v", raw, err)
		}
		if utf8.Valid(body) && !repeats(n) && !same(plain(decode(body)), decode(raw)) {
			t.Fatalf("%q became %q", body, raw)
		}
		for _, conv := range []Conv{Raw, Count, Str, Int, Bool, JSON, EpochISO, EpochRFC} {
			if v, err := conv(n); err == nil && !json.Valid(v) {
				t.Fatalf("a conversion of %q gave %q", raw, v)
			}
		}
		if repeats(n) {
			return
		}
		got, err := table.Read(n)
		if err != nil {
			t.Fatal(err)
		}
		root := decode(raw)
		for i, p := range paths {
			want := walk(root, p)
			at, row := n.At(p).Raw(), got.Dimensions[i].Value
			if !same(decode(at), want) || !same(decode(row), want) {
				t.Fatalf("%s of %q: At %s, table %s, want %v", p, raw, at, row, want)
			}
		}
	})
}
