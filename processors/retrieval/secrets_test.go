package retrieval

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"beat/providers"
)

func TestAnswersDoNotRepeatSecrets(t *testing.T) {
	c := providers.Credential{ID: 1, Source: "graphapi", Fields: map[string]providers.Secret{
		"token": "EAAB|geheim/1+2=", "X-RapidAPI-Key": "geheim-key-3", "Authorization": "Bearer geheim-bearer",
		"user_id": "17841400000009999", "X-RapidAPI-Host": "instagram.p.rapidapi.test", "short_key": "abc",
	}}
	for _, tt := range []struct{ name, body, want string }{
		{"none", `{"id":"1"}`, `{"id":"1"}`},
		{"as it is", `you sent EAAB|geheim/1+2= to us, and EAAB|geheim/1+2=`, `you sent *** to us, and ***`},
		{"within JSON", `{"k":"EAAB|geheim\/1+2="}`, `{"k":"***"}`},
		{"within a URL", `{"next":"https://g.test/?access_token=EAAB%7Cgeheim%2F1%2B2%3D&after=x"}`, `{"next":"https://g.test/?access_token=***&after=x"}`},
		{"of a header", "X-Rapidapi-Key: geheim-key-3", "X-Rapidapi-Key: ***"},
		{"without its scheme", `{"got":"geheim-bearer"}`, `{"got":"***"}`},
		{"with its scheme", `Authorization: Bearer geheim-bearer`, `Authorization: Bearer ***`},
		{"ids, hosts and short words stay", `{"id":"17841400000009999","host":"instagram.p.rapidapi.test","a":"abc"}`, `{"id":"17841400000009999","host":"instagram.p.rapidapi.test","a":"abc"}`},
	} {
		got := WithoutSecrets(c, providers.Answer{Body: []byte(tt.body), Header: http.Header{"X-Echo": {tt.body, "x"}}})
		if string(got.Body) != tt.want || got.Header.Get("X-Echo") != tt.want {
			t.Errorf("%s: got body %s and header %s, want %s", tt.name, got.Body, got.Header.Get("X-Echo"), tt.want)
		}
	}
	if got := WithoutSecrets(c, providers.Answer{}); got.Body != nil || got.Header != nil {
		t.Errorf("of no answer: %+v", got)
	}
}

// What it costs a page of posts, which a call takes hundreds of milliseconds for.
func BenchmarkWithoutSecrets(b *testing.B) {
	c := providers.Credential{Fields: map[string]providers.Secret{"token": providers.Secret("EAAB" + strings.Repeat("x", 180)), "user_id": "17841400000009999"}}
	ans := providers.Answer{Body: bytes.Repeat([]byte(`{"id":"1784","caption":"a sunny day","like_count":12345},`), 1000),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {"Wed, 25 Nov 2026 12:00:00 GMT"}, "X-App-Usage": {`{"call_count":3}`}}}
	b.SetBytes(int64(len(ans.Body)))
	for b.Loop() {
		WithoutSecrets(c, ans)
	}
}
