package graphapi

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"beat/providers"
	"beat/providers/providertest"
)

func TestDebugRequest(t *testing.T) {
	r := DebugRequest("1000|appsecret", cred)
	if got, want := r.Query.Encode(), "access_token=1000%7Cappsecret&input_token=EAABsecretsecretsecret"; got != want ||
		r.Path != "/v15.0/debug_token" || len(r.Header) != 0 || r.Method != "" {
		t.Errorf("%s %s?%s, want %s", r.Method, r.Path, got, want)
	}
}

func TestReadDebug(t *testing.T) {
	s, err := ReadDebug(providertest.Read(t, "testdata/debug_token.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"instagram_basic", "instagram_manage_insights", "pages_read_engagement", "pages_show_list", "public_profile"}
	if !slices.Equal(s.Scopes, want) || !s.Until.Equal(time.Unix(1703300000, 0)) || !s.Valid {
		t.Errorf("got %+v, want valid until %v with %q", s, time.Unix(1703300000, 0).UTC(), want)
	}
	for _, tt := range []struct{ name, body, want string }{
		{"no data", `{}`, "data.scopes is missing"},
		{"no scopes", `{"data":{}}`, "data.scopes is missing"},
		{"null scopes", `{"data":{"scopes":null}}`, "data.scopes is missing"},
		{"scopes as text", `{"data":{"scopes":"instagram_basic"}}`, "data.scopes is text"},
		{"a scope that is no text", `{"data":{"scopes":[7]}}`, "data.scopes holds a number"},
		{"a date", `{"data":{"scopes":[],"data_access_expires_at":"tomorrow"}}`, "data.data_access_expires_at is text"},
		{"an error", `{"error":{"message":"no","code":190}}`, "data.scopes is missing"},
		{"a page", `<html>`, "body is not JSON"},
		{"nothing", ``, "body is not JSON"},
	} {
		_, err := ReadDebug([]byte(tt.body))
		if !errors.Is(err, providers.ErrMalformed) || !strings.HasPrefix(err.Detail, "graphapi debug_token: "+tt.want) {
			t.Errorf("%s: %v, want a malformed error with %q", tt.name, err, tt.want)
		}
	}
}

// Data access ends at its instant, and 0 is never (Q-GA-5).
func TestTokenState(t *testing.T) {
	const scopes = `"scopes":["instagram_basic","instagram_manage_insights","pages_read_engagement","pages_show_list"]`
	for _, tt := range []struct {
		data    string
		now     int64
		expired bool
		message string
	}{
		{scopes + `,"data_access_expires_at":1703300000`, 1703299999, false, ""},
		{scopes + `,"data_access_expires_at":1703300000`, 1703300000, true, "Data access expired"},
		{scopes + `,"data_access_expires_at":1703300000`, 1703300001, true, "Data access expired"},
		{scopes + `,"data_access_expires_at":"1703300000"`, 1703300001, true, "Data access expired"},
		{scopes + `,"data_access_expires_at":0`, 1703300001, false, ""},
		{scopes + `,"data_access_expires_at":-1`, 1703300001, false, ""},
		{scopes + `,"data_access_expires_at":null`, 1703300001, false, ""},
		{scopes, 1703300001, false, ""},
		{scopes + `,"is_valid":true`, 1703300001, false, ""},
		{scopes + `,"is_valid":false`, 1703300001, false, "Token is invalid"},
		{`"scopes":["instagram_basic"],"data_access_expires_at":1`, 1703300001, true, "Token is invalid"},
		{`"scopes":[]`, 1703300001, false, "Token is invalid"},
	} {
		s, err := ReadDebug([]byte(`{"data":{` + tt.data + `}}`))
		if err != nil {
			t.Errorf("%s: %v", tt.data, err)
			continue
		}
		now := time.Unix(tt.now, 0)
		if got := s.Expired(now); got != tt.expired {
			t.Errorf("%s at %d: expired %v", tt.data, tt.now, got)
		}
		switch err := s.Check(now); {
		case tt.message == "" && err != nil:
			t.Errorf("%s at %d: %v, want none", tt.data, tt.now, err)
		case tt.message != "" && (!errors.Is(err, providers.ErrRefused) || err.Status != 401 || err.Message != tt.message || !err.Expired):
			t.Errorf("%s at %d: %v, want refused: (401, '%s')", tt.data, tt.now, err, tt.message)
		}
	}
	s := TokenState{Valid: true, Scopes: []string{"pages_show_list", "instagram_basic"}}
	if err := s.Check(time.Time{}); err == nil || err.Detail != "it lacks instagram_manage_insights, pages_read_engagement" {
		t.Errorf("got %v, want an error that names what is missing", err)
	}
}
