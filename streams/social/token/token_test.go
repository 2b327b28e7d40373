package token

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestString moves what ends a string, or breaks it, over every place of the
// words that are looked at together.
func TestString(t *testing.T) {
	for before := range 20 {
		for after := range 20 {
			head, tail := `"`+strings.Repeat("é"[:before%2]+"a", before), strings.Repeat(`"`, after)
			start := len(`{"k":`)
			for _, tt := range []struct {
				text  string
				taken int // 0: no string
				plain bool
			}{
				{`"`, 1, true},
				{`!#[]~` + "\x7f\x80\xff" + `"`, 9, true},
				{`\"\\\/\b\f\n\r\t"`, 17, false},
				{`\u00e9\uD83D"`, 13, false},
				{`\u00g9"`, 0, false},
				{`\x"`, 0, false},
				{`\`, 0, false},
				{"\x00\"", 0, false},
				{"\x1f\"", 0, false},
				{"a\n\"", 0, false},
			} {
				if tt.text == `\` && after > 0 {
					continue
				}
				b := []byte(`{"k":` + head + tt.text + tail)
				want := start + len(head) + tt.taken
				if tt.taken == 0 {
					want = 0
				}
				end, plain := String(b, start)
				if end != want || end > 0 && plain != tt.plain {
					t.Errorf("String(%q, %d) = %d, %v, want %d, %v", b, start, end, plain, want, tt.plain)
				}
			}
		}
	}
	if end, _ := String([]byte(`"never ended`), 0); end != 0 {
		t.Errorf("a string without an end ends at %d", end)
	}
}

func TestScalar(t *testing.T) {
	for text, want := range map[string]int{
		`"a" `: 3, `12,`: 2, `-0.5e+3]`: 7, `0`: 1, `01`: 1, `true`: 4, `false,`: 5, `null`: 4,
		``: 0, `-`: 0, `1.`: 0, `1e`: 0, `.5`: 0, `tru`: 0, `nul `: 0, `+1`: 0, `"`: 0,
	} {
		if got := Scalar([]byte(text), 0); got != want {
			t.Errorf("Scalar(%q) = %d, want %d", text, got, want)
		}
	}
}

// FuzzScalar checks what is a scalar against encoding/json.
func FuzzScalar(f *testing.F) {
	for _, s := range []string{`"a\u00e9\n"`, "\"\xff\"", `-1.5E-7`, `"\ud800"`, `true`, `"abcdefgh\`, "\"abcdefg\x1f\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if at := Space(b, 0); at < len(b) && (b[at] == '{' || b[at] == '[') {
			return
		}
		at := Space(b, 0)
		end := Scalar(b, at)
		if got, want := end > 0 && Space(b, end) == len(b), json.Valid(b); got != want {
			t.Fatalf("%q: a scalar: %v, want %v", b, got, want)
		}
		if end > 0 && !json.Valid(b[at:end]) {
			t.Fatalf("%q: %q is taken for a scalar", b, b[at:end])
		}
	})
}

// BenchmarkString reads the strings of answers: a key, an ID, a URL, a caption
// in English and one in Hindi with escapes.
func BenchmarkString(b *testing.B) {
	for _, bm := range []struct{ name, text string }{
		{"key", `edge_media_to_caption`},
		{"short", `id`},
		{"URL", "https://cdn.example.net/v/t51.2885-15/" + strings.Repeat("e35_p1080x1080_", 14)},
		{"caption", "Three things I learned this week ☕, and it took longer than we thought, thank you for every message.\\n\\nLink in bio. #coffee"},
		{"escapes", strings.Repeat(`\u0906\u091c `, 20)},
	} {
		data := []byte(`{"` + bm.text + `":"","and":"more"}`)
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.text)))
			for b.Loop() {
				if end, _ := String(data, 1); end != len(bm.text)+3 {
					b.Fatal(end)
				}
			}
		})
	}
}
