package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/migrations/pgtest"
	"beat/providers"
)

var (
	key1 = bytes.Repeat([]byte{1}, keyBytes)
	key2 = bytes.Repeat([]byte{2}, keyBytes)
)

func TestParseKey(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "  \n": true, base64.StdEncoding.EncodeToString(key1) + "\n": true,
		"geheim": false, base64.StdEncoding.EncodeToString([]byte("geheim")): false,
		base64.StdEncoding.EncodeToString(append(key1, 0)): false,
	} {
		key, err := ParseKey(text)
		if (err == nil) != ok || err == nil && len(key) != 0 && len(key) != keyBytes {
			t.Errorf("%q: %d bytes, %v", text, len(key), err)
		}
		if err != nil && (!strings.Contains(err.Error(), KeySetting) || text != "" && strings.Contains(err.Error(), text)) {
			t.Errorf("%q: the error is %v", text, err)
		}
	}
}

// Plain and sealed rows work side by side; sealing again does nothing.
func TestSealed(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	insert(t, db, "nobody", "") // of a source that this build does not know
	s := newStore(t, db, Config{Key: key1})
	plain := pick(t, s, "one")
	id, created, err := s.Add(t.Context(), providers.Credential{Source: "two", Fields: secrets("key", mark)}, 3)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	column := func(id int64) string {
		return scan[string](t, db, "SELECT credentials::text FROM credential WHERE id = $1", id)
	}
	if got := column(id); strings.Contains(got, mark) || !strings.Contains(got, sealedField) {
		t.Errorf("stored as %s, want it sealed", got)
	}
	for _, want := range []int{2, 0} {
		if n, err := s.Seal(t.Context()); err != nil || n != want {
			t.Errorf("%d rows sealed, %v, want %d", n, err, want)
		}
		if got := scan[int](t, db, "SELECT count(*) FROM credential WHERE credentials::text LIKE '%geheim%'"); got != 0 {
			t.Errorf("%d rows are plain", got)
		}
	}
	load(t, s)
	if diff := cmp.Diff(plain.Fields["key"].Reveal(), pick(t, s, "one").Fields["key"].Reveal()); diff != "" {
		t.Errorf("sealed, it reads otherwise")
	}
	// The same again is the same row, though its nonce is another.
	again, created, err := s.Add(t.Context(), providers.Credential{Source: "two", Fields: secrets("key", mark)}, 0)
	if err != nil || created || again != id {
		t.Errorf("row %d, created %v, %v, want row %d again", again, created, err, id)
	}
	if got := scan[int](t, db, "SELECT weight FROM credential WHERE id = $1", id); got != 3 {
		t.Errorf("weight %d, want 3", got)
	}
	load(t, s)
	if got := pick(t, s, "two").Fields["key"]; got != mark {
		t.Error("the added one reads otherwise")
	}
	if strings.Contains(fmt.Sprint(s.Bad()), mark) {
		t.Error("a secret is shown")
	}
	// Refused while sealed.
	if err := s.Refuse(t.Context(), pick(t, s, "two"), "no", false); err != nil {
		t.Fatal(err)
	}
	if scan[bool](t, db, "SELECT enabled FROM credential WHERE id = $1", id) {
		t.Error("not refused")
	}
}

// What cannot be opened says what is missing, and holds up nobody.
func TestSealedWithoutKey(t *testing.T) {
	db := pgtest.New(t)
	with := newStore(t, db, Config{Key: key1})
	sealed, _, err := with.Add(t.Context(), providers.Credential{Source: "one", Handle: "ann", Fields: secrets("key", mark)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	plain := insert(t, db, "one", "")
	for _, tt := range []struct {
		name string
		key  []byte
		want string
	}{
		{"no key", nil, "set BEAT_CREDENTIAL_KEY (32 bytes, base64)"},
		{"another key", key2, "sealed with another key than that in BEAT_CREDENTIAL_KEY"},
		{"a key that is too short", key1[:16], "BEAT_CREDENTIAL_KEY has 16 bytes, want 32"},
	} {
		s := newStore(t, db, Config{Key: tt.key})
		if got := s.Bad(); len(got) != 1 || !strings.Contains(got[sealed], tt.want) {
			t.Errorf("%s: bad rows are %v, want %q", tt.name, got, tt.want)
		}
		for range 3 {
			if got := pick(t, s, "one").ID; got != plain {
				t.Errorf("%s: credential %d, want the plain one", tt.name, got)
			}
		}
	}
	// Moved to another source, it does not open.
	exec(t, db, "UPDATE credential SET source = 'two' WHERE id = $1", sealed)
	load(t, with)
	if got := with.Bad()[sealed]; !strings.Contains(got, "for another source") {
		t.Errorf("moved to another source: %q", got)
	}
	exec(t, db, `UPDATE credential SET source = 'one', credentials = credentials || '{"key":"x"}' WHERE id = $1`, sealed)
	load(t, with)
	if got := with.Bad()[sealed]; !strings.Contains(got, "beside") {
		t.Errorf("with a plain field beside: %q", got)
	}
}

func TestAdmin(t *testing.T) {
	db := pgtest.New(t)
	s := newStore(t, db, Config{})
	ctx := t.Context()
	for name, c := range map[string]providers.Credential{
		"unknown source": {Source: "three", Fields: secrets("key", mark)},
		"no fields":      {Source: "one"},
		"missing field":  {Source: "one", Fields: secrets("kye", mark)},
		"sealed field":   {Source: "one", Fields: secrets("key", mark, sealedField, mark)},
	} {
		if _, _, err := s.Add(ctx, c, 0); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), mark) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ann := providers.Credential{Source: "one", Handle: "ann", Fields: secrets("key", mark)}
	id, created, err := s.Add(ctx, ann, 2)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if got := scan[string](t, db, "SELECT idempotency_key FROM credential"); got != "one:ann" {
		t.Errorf("idempotency key %q", got)
	}
	// Whatever has happened to it, it is as new when it is added again.
	exec(t, db, `UPDATE credential SET enabled = false, data_access_expired = true, disabled_till = 'infinity', failures = 3, downs = 2,
refused_at = now(), reason = 'x', idempotency_key = 'of another program'`)
	ann.Fields = secrets("key", mark+"2")
	if again, created, err := s.Add(ctx, ann, 0); err != nil || created || again != id {
		t.Errorf("row %d, created %v, %v, want row %d again", again, created, err, id)
	}
	show := func() Row {
		t.Helper()
		rows, err := s.Rows(ctx)
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		return rows[0]
	}
	want := Row{ID: id, Source: "one", Handle: "ann", Weight: 2, State: "ready", Fields: []string{"key"}}
	if diff := cmp.Diff(want, show()); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if err := s.Disable(ctx, id, time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	got := show()
	if got.State != "resting" || got.Reason != "by hand" || got.Until == nil {
		t.Errorf("disabled for an hour: %+v", got)
	} else {
		near(t, "by hand", *got.Until, time.Hour)
	}
	if err := s.Disable(ctx, id, 0, "provider_down"); err != nil {
		t.Fatal(err)
	}
	if err := s.Up(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if got := show(); got.State != "disabled" || got.Reason != "by hand: provider_down" {
		t.Errorf("disabled: %+v", got)
	}
	if err := s.Enable(ctx, id); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, show()); diff != "" {
		t.Errorf("enabled (-want +got):\n%s", diff)
	}
	if c, err := s.Get(ctx, id); err != nil || c.Fields["key"] != mark+"2" {
		t.Errorf("got %v, %v", c, err)
	}
	for _, err := range []error{s.Enable(ctx, 99), s.Disable(ctx, 99, 0, ""), func() error { _, err := s.Get(ctx, 99); return err }()} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("row 99: %v", err)
		}
	}
}

// Whatever the column holds, it is read or refused, and a refusal shows nothing
// of it but names of fields.
func FuzzDecode(f *testing.F) {
	good, err := seal(key1, "one", secrets("key", "v"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"key":"v"}`, string(good), ``, `null`, `[]`, `{}`, `{"a":null}`, `{"a":1e400}`, `{"a":{"b":1}}`, `{"beat_sealed":""}`,
		`{"beat_sealed":"AAAA"}`, `{"beat_sealed":7}`, `{"beat_sealed":"AAAA","a":"b"}`, `{"key":"v"} x`, "{\"\xff\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, key := range [][]byte{nil, key1} {
			r := row{Credential: providers.Credential{ID: 1, Source: "one"}}
			err := r.decode(data, key)
			if err == nil && r.Fields == nil || err != nil && r.Fields != nil {
				t.Fatalf("%d fields and %v", len(r.Fields), err)
			}
			if err != nil {
				continue
			}
			if _, ok := r.Fields[sealedField]; ok && !r.sealed {
				t.Fatal("a sealed row is taken as plain")
			}
			column, err := seal(key1, "one", r.Fields)
			if err != nil {
				t.Fatal(err)
			}
			back := row{Credential: providers.Credential{ID: 1, Source: "one"}}
			if err := back.decode(column, key1); len(r.Fields) > 0 && err != nil {
				t.Fatalf("sealed, it cannot be opened: %v", err)
			}
		}
	})
}
