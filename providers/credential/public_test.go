package credential

import (
	"testing"

	"beat/migrations/pgtest"
	"beat/providers"
)

// The row of a provider that anybody may ask is made once, and is a person's from
// then on.
func TestPlant(t *testing.T) {
	db := pgtest.New(t)
	s := newStore(t, db, Config{})
	s.known = providers.NewSet(&providers.Provider{Source: "page", Public: map[string]string{"Cookie": "c"}}, &providers.Provider{Source: "one"})
	for range 2 {
		if err := s.Plant(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := pick(t, s, "page"); c.Handle != "" || c.Fields["Cookie"] != "c" || len(c.Fields) != 1 {
		t.Errorf("got %+v", c)
	}
	exec(t, db, "UPDATE credential SET enabled = false")
	if err := s.Plant(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := scan[string](t, db, "SELECT string_agg(source || ':' || enabled, ' ') FROM credential"); got != "page:false" {
		t.Errorf("rows %s", got)
	}
}
