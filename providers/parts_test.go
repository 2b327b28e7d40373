package providers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"beat/providers"
)

func TestParts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []providers.Answer
		want    string
	}{
		{"one", []providers.Answer{{Status: 200, Body: []byte(`{"a":1}`)}}, `{"parts":[{"status":200,"body":{"a":1}}]}`},
		{"two, in order", []providers.Answer{{Status: 200, Body: []byte(`[1]`)}, {Status: 400, Body: []byte(`{"error":{}}`)}},
			`{"parts":[{"status":200,"body":[1]},{"status":400,"body":{"error":{}}}]}`},
		{"as it was written", []providers.Answer{{Status: 200, Body: []byte("\n{\"b\": 18000000000000077,\n \"a\": 1.50}\n")}},
			"{\"parts\":[{\"status\":200,\"body\":\n{\"b\": 18000000000000077,\n \"a\": 1.50}\n}]}"},
		{"scalars", []providers.Answer{{Status: 200, Body: []byte(`7`)}, {Status: 200, Body: []byte(`"x"`)}, {Status: 200, Body: []byte(`null`)}},
			`{"parts":[{"status":200,"body":7},{"status":200,"body":"x"},{"status":200,"body":null}]}`},
		{"no body", []providers.Answer{{Status: 204}}, `{"parts":[{"status":204,"body":null}]}`},
		{"no answer", []providers.Answer{{Status: 200, Body: []byte(`{}`)}, {}}, `{"parts":[{"status":200,"body":{}},{"status":0,"body":null}]}`},
		{"a page", []providers.Answer{{Status: 502, Body: []byte("<a href=\"x\">\n\\ </a>")}}, `{"parts":[{"status":502,"body":"<a href=\"x\">\n\\ </a>"}]}`},
		{"blanks", []providers.Answer{{Status: 200, Body: []byte(" ")}}, `{"parts":[{"status":200,"body":" "}]}`},
		{"cut off", []providers.Answer{{Status: 200, Body: []byte(`{"a":`)}}, `{"parts":[{"status":200,"body":"{\"a\":"}]}`},
		{"two values", []providers.Answer{{Status: 200, Body: []byte(`{} {}`)}}, `{"parts":[{"status":200,"body":"{} {}"}]}`},
		{"no UTF-8", []providers.Answer{{Status: 500, Body: []byte("\xff\x00")}}, `{"parts":[{"status":500,"body":"` + "\ufffd" + `\u0000"}]}`},
		{"what would end the list", []providers.Answer{{Status: 200, Body: []byte(`1}]},{"status":200`)}}, `{"parts":[{"status":200,"body":"1}]},{\"status\":200"}]}`},
	} {
		got := providers.Parts(tt.answers).Body
		if string(got) != tt.want || !json.Valid(got) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// All but the body is that of the first, and the time taken that of the longest:
// they were asked at once.
func TestPartsOfTheFirst(t *testing.T) {
	at := time.Date(2023, 9, 24, 12, 0, 0, 0, time.UTC)
	first := providers.Answer{Status: 403, Header: http.Header{"X-App-Usage": {"1"}}, Body: []byte(`{"a":1}`), At: at, Took: time.Second,
		Method: "GET", URI: "https://host/x?a=1", Remote: "https://host/x", Sent: map[string]string{"A": "b"}}
	second := providers.Answer{Status: 200, Body: []byte(`{"b":2}`), At: at.Add(time.Second), Took: 3 * time.Second, Method: "POST", URI: "y", Remote: "y"}
	got := providers.Parts([]providers.Answer{first, second})
	if got.Status != 403 || got.Header.Get("X-App-Usage") != "1" || !got.At.Equal(at) || got.Method != "GET" ||
		got.URI != first.URI || got.Remote != first.Remote || got.Sent["A"] != "b" {
		t.Errorf("got %+v, want all of the first", got)
	}
	if got.Took != 3*time.Second {
		t.Errorf("took %v, want the longest", got.Took)
	}
	if string(first.Body) != `{"a":1}` || string(second.Body) != `{"b":2}` {
		t.Errorf("the answers were changed: %s and %s", first.Body, second.Body)
	}
	if n := strings.Count(string(got.Body), `"status"`); n != 2 {
		t.Errorf("%d parts: %s", n, got.Body)
	}
}
