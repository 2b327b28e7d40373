package snapshot

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beat/streams/replay"
	"beat/streams/social"
)

// Words go, the form stays, and the same word is the same other one, however it is
// spelled and wherever it is.
func TestMaskText(t *testing.T) {
	m := NewMask()
	for _, s := range []string{"wander.lens_studio", "+49 170 1234567", "https://www.example.net/p/CxQ7aBcD123/?igsh=abc", "Größe 🎉 東京タワー!", "17841400000009999"} {
		got := m.Text(s)
		if got == s || m.Text(s) != got {
			t.Errorf("%q became %q, then %q", s, got, m.Text(s))
		}
		if a, b := strings.IndexFunc(s, func(r rune) bool { return r == '.' }), strings.IndexFunc(got, func(r rune) bool { return r == '.' }); a != b && a >= 0 {
			t.Errorf("%q became %q, of another form", s, got)
		}
	}
	handle := m.Text("wanderlens")
	if got := m.Text("Thanks @WanderLens, see reels"); !strings.Contains(strings.ToLower(got), "@"+handle+",") || !strings.HasSuffix(got, " reels") {
		t.Errorf("a caption became %q, where the handle is %q", got, handle)
	}
	if other := NewMask().Text("wanderlens"); other == handle {
		t.Errorf("two masks make the same of a handle: %q", other)
	}
	if got := m.Text("https://www.instagram.com/p/"); got != "https://www.instagram.com/p/" {
		t.Errorf("an address of everybody became %q", got)
	}
}

// What identifies goes as a number too, and as the same one as in a text; times,
// counts and kinds stay, and so does the order of members.
func TestMaskJSON(t *testing.T) {
	m := NewMask()
	in := `{"pk":4815162342,"id":"4815162342_99","media_type":2,"type":"feed_photo","taken_at":1700000000,"followers_count":123456789,` +
		`"viewCount":"987654","created":"2023-09-24T12:00:00+0000","full_name":"Ada Lovelace","lat":51.507351,"list":[{"username":"ada"},null,true,-1.5],"pk":9007199254740993}`
	out, err := m.JSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	id := m.Text("4815162342")
	want := `{"pk":` + id + `,"id":"` + id + `_99","media_type":2,"type":"feed_photo","taken_at":1700000000,"followers_count":123456789,` +
		`"viewCount":"987654","created":"2023-09-24T12:00:00+0000","full_name":"` + m.Text("Ada Lovelace") + `","lat":` + m.Text("51.507351") +
		`,"list":[{"username":"` + m.Text("ada") + `"},null,true,-1.5],"pk":` + m.Text("9007199254740993") + `}`
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for _, s := range []string{``, `{`, `{"a":1}{`, `{"a":}`, `<html>`, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		if out, err := m.JSON([]byte(s)); err == nil {
			t.Errorf("%.20q became %.40q", s, out)
		}
	}
}

func FuzzMaskJSON(f *testing.F) {
	f.Add([]byte(`{"id":"17841400000009999","a":[1.5e3,{"b":null}],"text":"\ud83c\udf89 wörd"}`))
	f.Add([]byte(`[[],{}, "\u0000", 12345678901234567890]`))
	m := NewMask()
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := m.JSON(body)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Errorf("%q became %q", body, out)
		}
		again, err := m.JSON(body)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("%q became %q, then %q, %v", body, out, again, err)
		}
	})
}

// A file that is none, or was broken off, is told by its name and place.
func TestBadFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "answers.zst")
	var whole bytes.Buffer
	one := func(yield func(replay.Answer, error) bool) {
		a := replay.Answer{Raw: social.Raw{ID: "r", Source: "graphapi", Status: 200}, Verdict: "ok", Body: []byte(`{"a":"text text"}`)}
		yield(a, nil) // without a time and a fetch type
	}
	if _, err := Save(&whole, NewMask(), one, 0, func(int) {}); err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]struct {
		bytes []byte
		says  string
	}{
		"empty":      {nil, "not made by beat snapshot save"},
		"text":       {[]byte("hello\n"), "not made by beat snapshot save"},
		"broken off": {whole.Bytes()[:whole.Len()-6], "answers.zst"},
		"no answer":  {whole.Bytes(), "answer 1 is none"},
	} {
		if err := os.WriteFile(path, is.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		var got error
		for _, err := range History(path)(t.Context(), replay.Filter{}, replay.Answer{}.At) {
			got = err
		}
		if got == nil || !strings.Contains(got.Error(), is.says) || !strings.Contains(got.Error(), "answers.zst") {
			t.Errorf("%s: %v, want %q", name, got, is.says)
		}
	}
}
