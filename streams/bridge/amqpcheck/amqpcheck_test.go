package amqpcheck

import (
	"bytes"
	"embed"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// The example blocks of contract/amqp.md, section 4, one file each:
// <routing key>[.variant].json.
//
//go:embed testdata
var examples embed.FS

func example(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	files, err := examples.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := examples.ReadFile("testdata/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name()] = b
	}
	return out
}

func keyOf(file string) string {
	key, _, _ := strings.Cut(path.Base(file), ".")
	return key
}

func TestExamplesPass(t *testing.T) {
	seen := map[string]bool{}
	for file, b := range example(t) {
		seen[keyOf(file)] = true
		if err := Check(keyOf(file), b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for key := range shapes {
		if !seen[key] {
			t.Errorf("no example of %s", key)
		}
	}
}

// Every field of every example, made wrong in every way that its row forbids.
func TestEveryFieldIsHeldToItsRow(t *testing.T) {
	for file, b := range example(t) {
		key := keyOf(file)
		for _, f := range shapes[key].fields {
			without := mutate(t, b, func(m body) { delete(m, f.name) })
			fails(t, key, without, f.name, file+": without")
			extra := mutate(t, b, func(m body) { m[f.name+"_x"] = json.RawMessage("null") })
			fails(t, key, extra, f.name+"_x", file+": extra key")
			twice := bytes.Replace(b, []byte("{"), []byte(`{"`+f.name+`": null, `), 1)
			fails(t, key, twice, f.name, file+": twice")

			wrong := []string{`[1]`, `"\u0000nonsense\n"`, `-1.5`, `true`, `{"a": [1]}`, `null`, `"2023-09-25T14:17:32"`, `""`}
			failed := 0
			for _, w := range wrong {
				got := mutate(t, b, func(m body) { m[f.name] = json.RawMessage(w) })
				if err := Check(key, got); err != nil {
					failed++
					if !strings.Contains(err.Error(), f.name) && !strings.Contains(err.Error(), "dimensions") &&
						!strings.Contains(err.Error(), "handle") && !strings.Contains(err.Error(), "hostName") &&
						!strings.Contains(err.Error(), "publish_time") && !strings.Contains(err.Error(), "picked_at") &&
						!strings.Contains(err.Error(), "profile_id") {
						t.Errorf("%s: %s = %s: the error names no field: %v", file, f.name, w, err)
					}
				}
			}
			// A field may be text, null or free text at once; never all kinds.
			if failed < 4 {
				t.Errorf("%s: %s: only %d of %d wrong values failed", file, f.name, failed, len(wrong))
			}
		}
	}
}

func TestRules(t *testing.T) {
	set := func(name, value string) func(body) {
		return func(m body) { m[name] = json.RawMessage(value) }
	}
	for _, c := range []struct {
		name, file, field string
		change            func(body)
	}{
		{"id as a number", "profile_log_events.json", "profile_id", set("profile_id", "4815162342")},
		{"task id as a number", "scrape_request_log_events.json", "scl_id", set("scl_id", "88213457")},
		{"task id of letters", "scrape_request_log_events.json", "scl_id", set("scl_id", `"88a"`)},
		{"event id no UUID", "post_log_events.json", "event_id", set("event_id", `"5f3a0c1e"`)},
		{"event id in upper case", "post_log_events.json", "event_id", set("event_id", `"C9A9B1C0-3B38-4A2B-8F0B-4D8B7D9C2E10"`)},
		{"event id of version 1", "post_log_events.json", "event_id", set("event_id", `"c9a9b1c0-3b38-1a2b-8f0b-4d8b7d9c2e10"`)},
		{"platform in lower case", "post_log_events.json", "platform", set("platform", `"instagram"`)},
		{"platform of a task in lower case", "scrape_request_log_events.json", "platform", set("platform", `"instagram"`)},
		{"time with T", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-09-25T14:17:36"`)},
		{"time with zone", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-09-25 14:17:36Z"`)},
		{"time with fraction", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-09-25 14:17:36.5"`)},
		{"time without padding", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-09-25 4:17:36"`)},
		{"time without seconds", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-09-25 14:17"`)},
		{"no such day", "post_log_events.json", "event_timestamp", set("event_timestamp", `"2023-02-30 14:17:36"`)},
		{"year one", "post_log_events.json", "event_timestamp", set("event_timestamp", `"0001-01-01 00:00:00"`)},
		{"publish time 0", "post_log_events.json", "publish_time", set("publish_time", "0")},
		{"publish time of another zone", "post_log_events.json", "publish_time", set("publish_time", `"2023-09-18 11:32:11"`)},
		{"publish time null though taken", "post_log_events.json", "publish_time", set("publish_time", "null")},
		{"publish time out of nowhere", "post_log_events.classifier.json", "publish_time", set("publish_time", `"2023-09-18 06:02:11"`)},
		{"expiry with T", "scrape_request_log_events.json", "expires_at", set("expires_at", `"2023-09-25T15:17:32.481922"`)},
		{"running but never picked", "scrape_request_log_events.json", "picked_at", set("picked_at", "null")},
		{"params as text", "scrape_request_log_events.json", "params", set("params", `"{}"`)},
		{"params null", "scrape_request_log_events.json", "params", set("params", "null")},
		{"priority as text", "scrape_request_log_events.json", "priority", set("priority", `"1"`)},
		{"retry count as text", "scrape_request_log_events.json", "retry_count", set("retry_count", `"1"`)},
		{"metrics as pairs", "profile_log_events.json", "metrics", set("metrics", `[{"key": "a", "value": 1}]`)},
		{"metrics null", "profile_log_events.json", "metrics", set("metrics", "null")},
		{"metric as text", "profile_log_events.json", "followers", set("metrics", `{"followers": "28754"}`)},
		{"metric as bool", "profile_log_events.json", "followers", set("metrics", `{"followers": true}`)},
		{"metric as array", "post_log_events.json", "comments_thread", set("metrics", `{"comments_thread": []}`)},
		{"metric twice", "profile_log_events.json", "followers", set("metrics", `{"followers": 1, "followers": 2}`)},
		{"metric beyond float64", "profile_log_events.json", "1e999", set("metrics", `{"followers": 1e999}`)},
		{"dimensions as pairs", "profile_log_events.json", "dimensions", set("dimensions", `[{"key": "a", "value": 1}]`)},
		{"dimension twice", "profile_log_events.json", "bio", set("dimensions", `{"bio": "", "bio": ""}`)},
		{"handle that the dimension does not say", "profile_log_events.json", "handle", set("handle", `"other"`)},
		{"handle of YouTube not the id", "profile_log_events.json", "handle", set("platform", `"YOUTUBE"`)},
		{"profile null on Instagram", "post_log_events.json", "profile_id", set("profile_id", "null")},
		{"source null", "post_log_events.json", "source", set("source", "null")},
		{"shortcode empty", "post_log_events.json", "shortcode", set("shortcode", `""`)},
		{"comment id as a number", "post_activity_log_events.json", "comment_id", set("dimensions", `{"comment_id": 17900000000000001, "taken_at_timestamp": 1695021102}`)},
		{"thread as text", "post_activity_log_events.json", "comments_thread", set("metrics", `{"comments_thread": "[]"}`)},
		{"score as text", "sentiment_log_events.json", "score", set("score", `"0.9"`)},
		{"score as bool", "sentiment_log_events.json", "score", set("score", `true`)},
		{"sentiment as a number", "sentiment_log_events.json", "sentiment", set("sentiment", `1`)},
		{"bulk dimensions as object", "post_activity_log_bulk.json", "post_activity_logs", set("post_activity_logs", `[{"activity_type":"LIKE","platform":"INSTAGRAM","platform_post_id":"x","actor_profile_id":null,"dimensions":{},"metrics":[],"source":"","timestamp":"2023-09-25T14:19:00.120331"}]`)},
		{"job id of two parts", "keyword_collection_report_completion.json", "job_id", set("job_id", `"KC_1"`)},
		{"path with slash", "keyword_collection_report_completion.json", "path", set("report_asset", `{"path": "/x", "bucket": "b"}`)},
		{"bucket empty", "keyword_collection_report_completion.json", "bucket", set("report_asset", `{"path": "x", "bucket": ""}`)},
		{"headers as list", "trace_log.json", "headers", set("headers", `[]`)},
		{"header as number", "trace_log.json", "headers", set("headers", `{"a": 1}`)},
		{"only request as number", "trace_log.json", "onlyRequest", set("onlyRequest", `0`)},
		{"time taken as text", "trace_log.json", "timeTaken", set("timeTaken", `"812"`)},
		{"two hosts", "trace_log.json", "hostName", set("hostName", `"other"`)},
		{"response body", "trace_log.json", "responseBody", set("responseBody", `"x"`)},
		{"token in the query", "trace_log.json", "access_token", set("uri", `"https://x.invalid/?a=1&access_token=EAAB"`)},
		{"key in a header", "trace_log.json", "X-RapidAPI-Key", set("headers", `{"X-RapidAPI-Key": "abc"}`)},
	} {
		b, err := examples.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		fails(t, keyOf(c.file), mutate(t, b, c.change), c.field, c.name)
	}
}

func TestWholeBodies(t *testing.T) {
	b, err := examples.ReadFile("testdata/sentiment_log_events.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"array":         append(append([]byte("["), b...), ']'),
		"two":           append(slices.Clone(b), b...),
		"NaN":           bytes.Replace(b, []byte("0.9731"), []byte("NaN"), 1),
		"infinity":      bytes.Replace(b, []byte("0.9731"), []byte("Infinity"), 1),
		"invalid UTF-8": bytes.Replace(b, []byte("unreal"), []byte("unr\xffal"), 1),
	} {
		if err := Check("sentiment_log_events", bad); err == nil {
			t.Errorf("%s passed: %s", name, bad)
		}
	}
	if err := Check("post_log_events_bkp", b); err == nil {
		t.Error("a routing key that beat must not use passed")
	}
}

func mutate(t *testing.T, b []byte, change func(body)) []byte {
	t.Helper()
	var m body
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	// By hand: json.Marshal refuses what some changes are.
	out := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			out = append(out, ',')
		}
		k, _ := json.Marshal(name)
		out = append(append(append(out, k...), ':'), m[name]...)
	}
	return append(out, '}')
}

func fails(t *testing.T, key string, b []byte, field, what string) {
	t.Helper()
	err := Check(key, b)
	if err == nil {
		t.Errorf("%s: passed: %s", what, b)
	} else if !strings.Contains(err.Error(), field) {
		t.Errorf("%s: the error does not name %s: %v", what, field, err)
	}
}
