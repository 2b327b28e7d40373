package access

import (
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	secret, made, err := New("prometheus", Read)
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != len(prefix)+43 || !strings.HasPrefix(secret, prefix) || strings.Contains(made.String(), secret[len(prefix):]) {
		t.Errorf("got secret of %d bytes, line %s", len(secret), made)
	}
	other, more, err := New("deploy", Admin)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := Parse("# of the operators\n" + made.String() + ", \n\n" + strings.ToUpper(more.String()[len("deploy:admin:"):]))
	if err == nil {
		t.Errorf("a digest alone is no token: got %v", tokens)
	}
	tokens, err = Parse("# of the operators\n" + made.String() + ", \n\n" + more.String() + "\n")
	if err != nil || len(tokens) != 2 {
		t.Fatalf("got %v, %v", tokens, err)
	}
	for given, want := range map[string]Token{secret: made, other: more} {
		if got, ok := tokens.Find(given); !ok || got != want {
			t.Errorf("got %v, %v, want %v", got, ok, want)
		}
	}
	for _, wrong := range []string{"", secret[:len(secret)-1], secret + "A", strings.ToLower(secret), made.String(), strings.Split(made.String(), ":")[2]} {
		if got, ok := tokens.Find(wrong); ok {
			t.Errorf("%q is taken for %v", wrong, got)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]Scope{"read": Read, "refresh": Refresh, "admin": Admin, "read+refresh": Refresh, "admin+read": Admin,
		"": Open, "open": Open, "Read": Open, "read+": Open, "write": Open, "read,admin": Open} {
		got, err := ParseScope(text)
		if got != want || (err == nil) != (want != Open) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

// What cannot be a token is refused, and never repeated: somebody may have put the
// secret where the digest belongs.
func TestParseErrors(t *testing.T) {
	const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, c := range []struct{ text, says string }{
		{"beat_geheim", "token 1: want NAME:SCOPE:SHA256"},
		{"a:read:beat_geheim", "token 1: want the SHA-256 of the token as 64 hexadecimal digits"},
		{"a:read:" + digest + ",b:geheim:" + digest, "token 2: want a scope"},
		{"a:read:" + digest + "\na:admin:" + digest, "token 2: its name is taken"},
		{"a geheim:read:" + digest, "token 1: want NAME"},
		{":read:" + digest, "token 1: want NAME"},
		{"a:read:" + digest[2:], "64 hexadecimal digits"},
	} {
		got, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") || got != nil {
			t.Errorf("%s: got %v, %v, want %q", c.text, got, err, c.says)
		}
	}
	if got, err := Parse(" \n,,\n# none\n"); err != nil || len(got) != 0 {
		t.Errorf("nothing: got %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a:read:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := Parse(text)
		if err != nil {
			return
		}
		for _, token := range tokens {
			if again, err := Parse(token.String()); err != nil || len(again) != 1 || again[0] != token {
				t.Errorf("%v is read again as %v, %v", token, again, err)
			}
		}
	})
}
