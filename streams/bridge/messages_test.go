package bridge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/streams/bridge/amqpcheck"
	"beat/streams/event"
	"beat/streams/social"
)

var (
	answered = time.Date(2024, 3, 9, 21, 4, 5, 678_000_000, time.FixedZone("IST", 19800)) // 15:34:05 UTC
	profID   = event.ID("test", "profile")
	postID   = event.ID("test", "post")
)

func kvs(pairs ...string) social.KVs {
	var out social.KVs
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, social.KV{Key: pairs[i], Value: json.RawMessage(pairs[i+1])})
	}
	return out
}

func commit(p social.Platform, events ...event.Event) event.Commit {
	return event.Commit{
		Task: social.TaskRef{ID: 7, Fence: 1, Flow: "refresh_profile_by_handle", Platform: p}, Parts: 1,
		Raw: social.Raw{ID: "r1", Source: "graphapi", At: answered, Status: 200}, Parser: 3, Events: events,
	}
}

// told passes a commit through the stream's form and the checker.
func told(t *testing.T, c event.Commit) []Message {
	t.Helper()
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := Messages(event.Subject(3, c.Task.Platform, event.KindCommit), nil, data)
	if err != nil {
		t.Fatalf("Messages(%s): %v", data, err)
	}
	for _, m := range msgs {
		if err := amqpcheck.Check(m.Key, m.Body); err != nil {
			t.Errorf("%v in %s", err, m.Body)
		}
	}
	return msgs
}

func TestProfileMessage(t *testing.T) {
	msgs := told(t, commit(social.Instagram, event.Event{ID: profID, Log: social.Log{
		Kind: social.Profile, Key: "90210", Handle: "ignored.here", Source: "rapidapi-jotucker",
		Dimensions: kvs("profile_id", `"90210"`, "handle", `"fern.and.film"`, "bio", `"a\nb \u00e9 ✓"`, "city", "null", "handle", `"fern_film"`),
		Metrics:    kvs("followers", "120", "following", "null", "followers", "121"),
	}}))
	want := []Message{{BeatExchange, "profile_log_events", profID, []byte(
		`{"event_id":"` + profID + `","source":"rapidapi-jotucker","platform":"INSTAGRAM","profile_id":"90210",` +
			`"handle":"fern_film","event_timestamp":"2024-03-09 15:34:05",` +
			`"metrics":{"followers":121,"following":null},` +
			`"dimensions":{"profile_id":"90210","handle":"fern_film","bio":"a\nb \u00e9 ✓","city":null}}`)}}
	if d := cmp.Diff(want, msgs); d != "" {
		t.Error(d)
	}
}

func TestPostMessage(t *testing.T) {
	msgs := told(t, commit(social.Instagram, event.Event{ID: postID, Log: social.Log{
		Kind: social.Post, Key: "Cx_9-a", Owner: "90210", Source: "",
		Dimensions: kvs("handle", `"fern_film"`, "taken_at_timestamp", "1710000000", "user_tags", `[{"user":{"username":"a"}}]`),
		Metrics:    kvs("likes", "3", "video_duration", "12.5"),
	}}))
	want := []Message{{BeatExchange, "post_log_events", postID, []byte(
		`{"event_id":"` + postID + `","source":"","platform":"INSTAGRAM","profile_id":"90210","handle":"fern_film",` +
			`"shortcode":"Cx_9-a","publish_time":"2024-03-09 16:00:00","event_timestamp":"2024-03-09 15:34:05",` +
			`"metrics":{"likes":3,"video_duration":12.5},` +
			`"dimensions":{"handle":"fern_film","taken_at_timestamp":1710000000,"user_tags":[{"user":{"username":"a"}}]}}`)}}
	if d := cmp.Diff(want, msgs); d != "" {
		t.Error(d)
	}
}

func TestFieldsOfMessages(t *testing.T) {
	post := func(owner string, dims ...string) social.Log {
		return social.Log{Kind: social.Post, Key: "k", Owner: owner, Source: "s", Dimensions: kvs(dims...)}
	}
	profile := func(dims ...string) social.Log {
		return social.Log{Kind: social.Profile, Key: "p1", Source: "s", Dimensions: kvs(dims...)}
	}
	metric := func(m ...string) social.Log {
		return social.Log{Kind: social.Profile, Key: "p1", Source: "s", Metrics: kvs(m...)}
	}
	for _, c := range []struct {
		name     string
		platform social.Platform
		log      social.Log
		want     string // part of the body
	}{
		{"no handle", social.Instagram, profile(), `"handle":null`},
		{"handle is a number", social.Instagram, profile("handle", "5"), `"handle":null`},
		{"handle is empty", social.Instagram, profile("handle", `""`), `"handle":""`},
		{"YouTube: handle is the channel", social.YouTube, profile("handle", `"x"`), `"profile_id":"p1","handle":"p1"`},
		{"YouTube post: handle is the owner", social.YouTube, post("UC1"), `"profile_id":"UC1","handle":"UC1"`},
		{"owner from the dimension", social.Instagram, post("", "profile_id", `"55"`), `"profile_id":"55"`},
		{"owner from a number", social.Instagram, post("", "profile_id", `17841400000000000123`), `"profile_id":"17841400000000000123"`},
		{"owner before the dimension", social.Instagram, post("1", "profile_id", `"55"`), `"profile_id":"1"`},
		{"no owner", social.Instagram, post(""), `"profile_id":"TODO","handle":null`},
		{"empty owner", social.Instagram, post("", "profile_id", `""`), `"profile_id":"TODO"`},
		{"YouTube without owner", social.YouTube, post(""), `"profile_id":null,"handle":null`},
		{"platform in lower case", "instagram", profile(), `"platform":"INSTAGRAM"`},
		{"another platform", "tiktok", profile("handle", `"h"`), `"platform":"TIKTOK","profile_id":"p1","handle":"h"`},
		{"no dimensions", social.Instagram, profile(), `"metrics":{},"dimensions":{}}`},
		{"taken absent", social.Instagram, post("1"), `"publish_time":null`},
		{"taken null", social.Instagram, post("1", "taken_at_timestamp", "null"), `"publish_time":null`},
		{"taken 0", social.Instagram, post("1", "taken_at_timestamp", "0"), `"publish_time":null`},
		{"taken negative", social.Instagram, post("1", "taken_at_timestamp", "-5"), `"publish_time":null`},
		{"taken as float", social.Instagram, post("1", "taken_at_timestamp", "1710000000.0"), `"publish_time":"2024-03-09 16:00:00"`},
		{"taken with exponent", social.Instagram, post("1", "taken_at_timestamp", "1.71e9"), `"publish_time":"2024-03-09 16:00:00"`},
		{"taken with fraction", social.Instagram, post("1", "taken_at_timestamp", "1710000000.5"), `"publish_time":null`},
		{"taken as text", social.Instagram, post("1", "taken_at_timestamp", `"1710000000"`), `"publish_time":"2024-03-09 16:00:00"`},
		{"taken as RFC 3339", social.Instagram, post("1", "taken_at_timestamp", `"2024-03-09T21:30:00+05:30"`), `"publish_time":"2024-03-09 16:00:00"`},
		{"taken as RFC 3339 with fraction", social.Instagram, post("1", "taken_at_timestamp", `"2024-03-09T16:00:00.9Z"`), `"publish_time":"2024-03-09 16:00:00"`},
		{"taken as words", social.Instagram, post("1", "taken_at_timestamp", `"yesterday"`), `"publish_time":null`},
		{"taken as an object", social.Instagram, post("1", "taken_at_timestamp", `{"a":1}`), `"publish_time":null`},
		{"taken in milliseconds", social.Instagram, post("1", "taken_at_timestamp", "1710000000000000"), `"publish_time":null`},
		{"taken infinitely late", social.Instagram, post("1", "taken_at_timestamp", "1e999"), `"publish_time":null`},
		{"taken twice: the last", social.Instagram, post("1", "taken_at_timestamp", "5", "taken_at_timestamp", "1710000000"), `"publish_time":"2024-03-09 16:00:00"`},
		{"metric as text", social.Instagram, metric("a", `"5"`, "b", "6"), `"metrics":{"a":null,"b":6}`},
		{"metric as bool", social.Instagram, metric("a", `true`), `"metrics":{"a":null}`},
		{"metric as array", social.Instagram, metric("a", `[1]`), `"metrics":{"a":null}`},
		{"metric beyond float64", social.Instagram, metric("a", `1e999`, "b", "-1e400", "c", "1e5"), `"metrics":{"a":null,"b":null,"c":1e5}`},
		{"number beyond float64 in a dimension", social.Instagram, profile("x", `{"y":["1e999",1e999,2]}`), `"x":{"y":["1e999",null,2]}`},
		{"big integers are kept", social.Instagram, profile("hash", `18446744073709551615`), `"hash":18446744073709551615`},
		{"quotes and backslashes", social.Instagram, profile("a\"\\", `"\\\"\\"`), `"a\"\\":"\\\"\\"`},
	} {
		msgs := told(t, commit(c.platform, event.Event{ID: postID, Log: c.log}))
		if len(msgs) != 1 || !strings.Contains(string(msgs[0].Body), c.want) {
			t.Errorf("%s: got %s, want it to contain %s", c.name, msgs[0].Body, c.want)
		}
	}
}

func TestOrderOfMessages(t *testing.T) {
	var events []event.Event
	for i := range 20 {
		kind := social.Post
		if i%5 == 0 {
			kind = social.Profile
		}
		events = append(events, event.Event{ID: event.ID("test", i), Log: social.Log{Kind: kind, Key: fmt.Sprint(i), Owner: "o", Source: "s"}})
	}
	msgs := told(t, commit(social.YouTube, events...))
	if len(msgs) != len(events) {
		t.Fatalf("got %d messages of %d events", len(msgs), len(events))
	}
	for i, m := range msgs {
		if m.ID != events[i].ID {
			t.Errorf("message %d is %s, want %s", i, m.ID, events[i].ID)
		}
		// Bodies share a buffer; appending to one must not touch the next.
		_ = append(m.Body, "XXXXXXXX"...)
	}
	for _, m := range msgs {
		if err := amqpcheck.Check(m.Key, m.Body); err != nil {
			t.Error(err)
		}
	}
	if msgs := told(t, commit(social.YouTube)); len(msgs) != 0 {
		t.Errorf("got %d messages of a commit without events", len(msgs))
	}
}

func TestTaskMessage(t *testing.T) {
	one, two := 1, 2
	why, picked := "asked by \"ops\"", answered.Add(-time.Minute)
	base := event.Task{
		EventID: event.TaskEventID(88, 2, social.Complete), ID: 88, Fence: 2, Flow: "asset_upload", Platform: "instagram",
		Params: json.RawMessage(`{"hash":18446744073709551615,"data":{"handle":"é"}}`), Status: social.Complete,
		Priority: &one, At: answered, PickedAt: &picked, ExpiresAt: new(answered.Add(time.Hour)), RetryCount: &two,
	}
	for _, c := range []struct {
		name   string
		change func(*event.Task)
		want   map[string]string
	}{
		{"as it is", func(*event.Task) {}, map[string]string{
			"event_id": `"` + base.EventID + `"`, "scl_id": `"88"`, "flow": `"asset_upload"`, "platform": `"INSTAGRAM"`,
			"params": `{"hash":18446744073709551615,"data":{"handle":"é"}}`, "status": `"COMPLETE"`, "priority": "1", "reason": "null",
			"event_timestamp": `"2024-03-09 15:34:05"`, "picked_at": `"2024-03-09 15:33:05"`, "expires_at": `"2024-03-09 16:34:05"`, "retry_count": "2"}},
		{"pending", func(t *event.Task) { t.Status = social.Pending }, map[string]string{"status": `"PENDING"`, "picked_at": "null"}},
		{"failed before it was picked", func(t *event.Task) { t.Status, t.PickedAt = social.Failed, nil }, map[string]string{"picked_at": `"2024-03-09 15:34:05"`}},
		{"nothing known", func(t *event.Task) { t.Priority, t.RetryCount, t.ExpiresAt = nil, nil, nil }, map[string]string{"priority": "null", "retry_count": "null", "expires_at": "null"}},
		{"a reason", func(t *event.Task) { t.Reason = &why }, map[string]string{"reason": `"asked by \"ops\""`}},
		{"a status of a client", func(t *event.Task) { t.Status = "CANCELLED" }, map[string]string{"status": `"CANCELLED"`}},
		{"no params", func(t *event.Task) { t.Params = nil }, map[string]string{"params": "{}"}},
		{"params of another shape", func(t *event.Task) { t.Params = json.RawMessage("[1]") }, map[string]string{"params": "{}"}},
		{"no platform", func(t *event.Task) { t.Platform = "" }, map[string]string{"platform": `""`}},
	} {
		task := base
		c.change(&task)
		data, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := Messages(task.Subject(), nil, data)
		if err != nil || len(msgs) != 1 {
			t.Errorf("%s: got %d messages, %v", c.name, len(msgs), err)
			continue
		}
		m := msgs[0]
		if m.Exchange != BeatExchange || m.Key != "scrape_request_log_events" || m.ID != base.EventID {
			t.Errorf("%s: got %s/%s %s", c.name, m.Exchange, m.Key, m.ID)
		}
		if err := amqpcheck.Check(m.Key, m.Body); err != nil {
			t.Errorf("%s: %v in %s", c.name, err, m.Body)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(m.Body, &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range c.want {
			if string(got[name]) != want {
				t.Errorf("%s: %s is %s, want %s", c.name, name, got[name], want)
			}
		}
	}
}

func TestWhatCannotBeTold(t *testing.T) {
	good := event.Event{ID: postID, Log: social.Log{Kind: social.Post, Key: "k", Owner: "o", Source: "s"}}
	marshal := func(change func(*event.Commit, *event.Event)) []byte {
		e := good
		c := commit(social.Instagram)
		change(&c, &e)
		c.Events = append(c.Events, e)
		b, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	commits := event.Subject(0, social.Instagram, event.KindCommit)
	deep := "[" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "]"
	for _, c := range []struct {
		name, subject string
		data          []byte
	}{
		{"subject", "beat.raw.instagram.x.y", marshal(func(*event.Commit, *event.Event) {})},
		{"kind of message", "beat.event.0.instagram.other", marshal(func(*event.Commit, *event.Event) {})},
		{"not JSON", commits, []byte("{")},
		{"empty object", commits, []byte("{}")},
		{"kind of log", commits, marshal(func(_ *event.Commit, e *event.Event) { e.Log.Kind = "order" })},
		{"no key", commits, marshal(func(_ *event.Commit, e *event.Event) { e.Log.Key = "" })},
		{"no event id", commits, marshal(func(_ *event.Commit, e *event.Event) { e.ID = "" })},
		{"event id of another form", commits, marshal(func(_ *event.Commit, e *event.Event) { e.ID = strings.ToUpper(e.ID) })},
		{"profile without source", commits, marshal(func(_ *event.Commit, e *event.Event) { e.Log.Kind, e.Log.Source = social.Profile, "" })},
		{"no platform", commits, marshal(func(c *event.Commit, _ *event.Event) { c.Task.Platform = "" })},
		{"no time", commits, marshal(func(c *event.Commit, _ *event.Event) { c.Raw.At = time.Time{} })},
		{"nested without end", commits, marshal(func(_ *event.Commit, e *event.Event) { e.Log.Dimensions = kvs("x", deep) })},
		{"task without id", "beat.event.0.instagram.task", []byte(`{"event_id":"` + postID + `","flow":"f","status":"PENDING","at":"2024-03-09T15:34:05Z"}`)},
		{"task without time", "beat.event.0.instagram.task", []byte(`{"event_id":"` + postID + `","id":1,"flow":"f","status":"PENDING"}`)},
	} {
		if msgs, err := Messages(c.subject, nil, c.data); err == nil {
			t.Errorf("%s: got %d messages, want an error", c.name, len(msgs))
		}
	}
}

func TestTrace(t *testing.T) {
	headers := map[string]string{
		HeaderRawID: "raw-1",
		HeaderTrace: `{"id":"raw-1","method":"GET","uri":"https://p.invalid/u?username=a&access_token=EAAB","remote":"https://p.invalid/u",` +
			`"headers":{"X-RapidAPI-Key":"abc","Accept":"*/*"},"status":429,"ms":812,"host":"h1","at":"2024-03-09T15:34:05.123456789Z"}`,
	}
	get := func(k string) string { return headers[k] }
	id := event.ID("trace", "raw-1")
	want := []Message{{IdentityExchange, "trace_log", id, []byte(
		`{"id":"` + id + `","hostname":"h1","hostName":"h1","serviceName":"beat","timestamp":"2024-03-09T15:34:05.123456","timeTaken":812,` +
			`"method":"GET","uri":"https://p.invalid/u?username=a&access_token=***","headers":{"Accept":"*/*","X-RapidAPI-Key":"***"},` +
			`"responseStatus":429,"remoteAddress":"https://p.invalid/u","onlyRequest":false,"requestBody":"","responseBody":""}`)}}
	got, err := Trace(get, answered)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := amqpcheck.Check(got[0].Key, got[0].Body); err != nil {
		t.Error(err)
	}

	headers[HeaderTrace] = `{}`
	if got, err = Trace(get, answered); err != nil {
		t.Fatal(err)
	} else if err := amqpcheck.Check(got[0].Key, got[0].Body); err != nil {
		t.Errorf("of an empty call: %v in %s", err, got[0].Body)
	} else if !strings.Contains(string(got[0].Body), `"timestamp":"2024-03-09T15:34:05.678000"`) {
		t.Errorf("of an empty call: got %s, want the time of storing", got[0].Body)
	}

	headers[HeaderTrace] = `{"status":200,"uri":"https://p.invalid/1","more":[{"status":400,"uri":"https://p.invalid/2?access_token=EAAB"}]}`
	if got, err = Trace(get, answered); err != nil || len(got) != 2 {
		t.Fatalf("of two calls: got %d messages, %v", len(got), err)
	}
	if got[0].ID == got[1].ID || !strings.Contains(string(got[1].Body), `"responseStatus":400`) || strings.Contains(string(got[1].Body), "EAAB") {
		t.Errorf("of the second call: got %s %s after %s", got[1].ID, got[1].Body, got[0].ID)
	}

	headers[HeaderTrace] = ""
	if _, err := Trace(get, answered); err != ErrNoTrace { //nolint:errorlint // returned as it is
		t.Errorf("without header: got %v, want ErrNoTrace", err)
	}
	headers[HeaderTrace] = "{"
	if _, err := Trace(get, answered); err == nil {
		t.Error("of half a header: got no error")
	}
}

func TestKeys(t *testing.T) {
	if len(Keys) != 13 || len(Keys) > maxKeys {
		t.Errorf("got %d keys, want 13", len(Keys))
	}
	seen := map[string]bool{}
	for i, k := range Keys {
		if seen[k.Key] || keyIndex(k.Exchange, k.Key) != i {
			t.Errorf("%s is no key of its own", k.Key)
		}
		seen[k.Key] = true
		if k.Required != (k.Queue != "") && k.Key != KeyTrace {
			t.Errorf("%s: required %v with queue %q", k.Key, k.Required, k.Queue)
		}
		if !slices.Contains(exchanges, k.Exchange) {
			t.Errorf("%s: exchange %s is never published to", k.Key, k.Exchange)
		}
		if err := amqpcheck.Check(k.Key, nil); strings.Contains(err.Error(), "no routing key") {
			t.Errorf("%s: %v", k.Key, err)
		}
	}
}

// Whatever the stream holds: no panic, and what is told passes.
func FuzzMessages(f *testing.F) {
	for _, p := range []social.Platform{social.Instagram, social.YouTube} {
		b, err := commit(p,
			event.Event{ID: profID, Log: social.Log{Kind: social.Profile, Key: "1", Source: "s", Dimensions: kvs("handle", `"h"`, "x", `[1e999,{"a":-0.5}]`), Metrics: kvs("a", "1", "b", `"x"`)}},
			event.Event{ID: postID, Log: social.Log{Kind: social.Post, Key: "2", Dimensions: kvs("taken_at_timestamp", "1710000000", "profile_id", "5")}},
		).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, b)
	}
	task, err := json.Marshal(event.Task{EventID: postID, ID: 5, Flow: "f", Platform: "SHOPIFY", Params: json.RawMessage(`{"a":1}`), Status: "FAILED", At: answered})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, task)
	f.Fuzz(func(t *testing.T, isCommit bool, data []byte) {
		kind := event.KindTask
		if isCommit {
			kind = event.KindCommit
		}
		msgs, err := Messages("beat.event.0.none."+kind, nil, data)
		if err != nil {
			return
		}
		for _, m := range msgs {
			if err := amqpcheck.Check(m.Key, m.Body); err != nil {
				t.Errorf("%v in %s", err, m.Body)
			}
		}
	})
}

func FuzzTrace(f *testing.F) {
	f.Add(`{"id":"r","uri":"https://a.invalid/?key=1","headers":{"Cookie":"x"},"status":200}`)
	f.Fuzz(func(t *testing.T, header string) {
		ms, err := Trace(func(k string) string { return map[string]string{HeaderTrace: header, HeaderRawID: "r"}[k] }, answered)
		if err != nil {
			return
		}
		for _, m := range ms {
			if err := amqpcheck.Check(m.Key, m.Body); err != nil {
				t.Errorf("%v in %s", err, m.Body)
			}
		}
	})
}

func BenchmarkMessages(b *testing.B) {
	var events []event.Event
	for i := range 13 {
		l := social.Log{Kind: social.Post, Key: fmt.Sprint("Cx", i), Owner: "90210", Source: "rapidapi-arraybobo",
			Metrics: kvs("comments", "37", "likes", "1840", "view_count", "null", "play_count", "25113")}
		for _, k := range slices.Sorted(maps.Keys(map[string]int{"profile_id": 1, "handle": 1, "display_url": 1, "thumbnail_src": 1, "post_type": 1, "caption": 1, "location": 1, "keywords": 1, "user_tags": 1, "is_sponsor": 1})) {
			l.Dimensions = append(l.Dimensions, social.KV{Key: k, Value: social.String(strings.Repeat("value ", 10))})
		}
		l.Dimensions.Set("taken_at_timestamp", social.Int(1710000000))
		events = append(events, event.Event{ID: event.ID("b", i), Log: l})
	}
	data, err := commit(social.Instagram, events...).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	subject := event.Subject(0, social.Instagram, event.KindCommit)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		msgs, err := Messages(subject, nil, data)
		if err != nil {
			b.Fatal(err)
		}
		n += len(msgs)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
}
