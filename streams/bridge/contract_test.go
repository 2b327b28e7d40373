package bridge

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/bridge/amqpcheck"
	"beat/streams/event"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// specimens is one message under each routing key, each made by its encoder of
// values that are awkward for a reader: absent ones, large integers, text of
// other scripts.
func specimens(t *testing.T) map[string]Message {
	t.Helper()
	out := map[string]Message{}
	add := func(m Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out[m.Key] = m
	}
	one, picked := 1, answered.Add(-time.Minute)
	data, err := json.Marshal(event.Task{
		EventID: event.TaskEventID(88, 2, social.Complete), ID: 88, Fence: 2, Flow: "asset_upload", Platform: "INSTAGRAM",
		Params: json.RawMessage(`{"hash":18446744073709551615}`), Status: social.Complete, Priority: &one, At: answered,
		PickedAt: &picked, ExpiresAt: new(answered.Add(time.Hour)), RetryCount: &one,
	})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := Messages("beat.event.0.instagram."+event.KindTask, nil, data)
	add(tasks[0], err)
	c := commit(social.Instagram,
		event.Event{ID: event.ID("specimen", "activity"), Log: social.Log{
			Kind: social.Activity, Key: "Cx_9-a", Type: social.Comment, Actor: "77", Source: "rapidapi-jotucker",
			Dimensions: kvs("comment_id", `"17900000000000001"`, "text", `"höher ✓ \"so\""`, "taken_at_timestamp", "1710000000", "keywords", `"['höher']"`),
			Metrics:    kvs("likes", "3", "comments", "1", "comments_thread", "[]"),
		}})
	c.Fetch = social.PostComments
	for _, m := range told(t, c) {
		add(m, nil)
	}
	for _, m := range told(t, commit(social.Instagram,
		event.Event{ID: event.ID("specimen", "relationship"), Log: social.Log{
			Kind: social.Relationship, Key: "77", Target: "90210", Type: "FOLLOWS", Source: "rocketapi",
			Dimensions: kvs("handle", `"a.b"`, "is_private", "false"),
		}},
		event.Event{ID: profID, Log: social.Log{
			Kind: social.Profile, Key: "90210", Source: "openapi_profile_info_v0.12",
			Dimensions: kvs("handle", `"a.b"`, "city", "null"), Metrics: kvs("followers", "null", "following", "12"),
		}},
		event.Event{ID: postID, Log: social.Log{
			Kind: social.Post, Key: "31980", Source: "", // a story that is not there any more
			Dimensions: kvs("post_id", `"31980"`, "post_type", `"story"`, "keywords", `""`), Metrics: kvs("profile_er", "null"),
		}},
	)) {
		add(m, nil)
	}
	traces, err := Trace(func(k string) string {
		return map[string]string{HeaderRawID: "raw-1", HeaderTrace: `{"method":"GET","uri":"https://p.invalid/u?key=abc","remote":"https://p.invalid/u","headers":{"X-Key":"abc"},"status":200,"ms":812,"host":"h1"}`}[k]
	}, answered)
	add(traces[0], err)
	add(sentiment.Message())
	add(order.Message())
	add(activity.Message())
	add(subscription.Message())
	add(keywordReport.Message())
	add(sentimentReport.Message())
	return out
}

var (
	sentiment = Sentiment{
		EventID: event.ID("specimen", "sentiment"), Platform: social.Instagram, Shortcode: "Cx_9-a", CommentID: "17900000000000001",
		At: answered, Comment: new("höher ✓"), Label: new("POSITIVE"), Score: new(0.9731),
	}
	order = Order{
		EventID: event.ID("specimen", "order"), ID: "5123456789012", Store: new("example-store.myshopify.invalid"), At: answered,
		Dimensions: kvs("platform_order_id", `"5123456789012"`, "status", "null", "utm_params", `"{\"source\": \"ig\"}"`,
			"order_data", `{"id":5123456789012,"total_price":"1499.00"}`),
	}
	activity = ChannelActivity{
		EventID: event.ID("specimen", "channel"), ID: "MTUx", Type: "upload", Source: "ytapi", Channel: "UCa1", At: answered,
		Dimensions: kvs("shortcode", `"dQx7"`, "taken_at_timestamp", `"2023-09-20T04:00:12Z"`),
	}
	subscription = Subscription{
		EventID: event.ID("specimen", "subscription"), ID: "AbCd", Source: "ytapi", Subscriber: "UCa1", Channel: "UCz9",
		Since: answered.AddDate(-1, 0, 0), At: answered, Dimensions: kvs("channel_title", `"Ridge Films"`, "thumbnail", "null"),
	}
	keywordReport = KeywordReport{
		JobID: "PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11", Bucket: "example-bucket",
		Path:            "keyword_collections/2023/9/25/PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11.parquet",
		DemographicPath: "keyword_collections/2023/9/25/PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11_demographic.parquet",
	}
	sentimentReport = SentimentReport{
		Type: "POST", ID: "c0a8012e-7b1d-4f0f-9a3e-2b1f6c7d8e90", Bucket: "example-bucket",
		Path: "sentiment_report/PROD/2023/9/25/POST_c0a8012e-7b1d-4f0f-9a3e-2b1f6c7d8e90.parquet",
	}
)

// Every routing key has a body that is written down, byte for byte.
func TestGoldenBodies(t *testing.T) {
	got := specimens(t)
	for _, k := range Keys {
		m, ok := got[k.Key]
		if !ok {
			t.Errorf("no specimen of %s", k.Key)
			continue
		}
		if m.Exchange != k.Exchange {
			t.Errorf("%s goes to %s, want %s", k.Key, m.Exchange, k.Exchange)
		}
		if err := amqpcheck.Check(k.Key, m.Body); err != nil {
			t.Errorf("%v in %s", err, m.Body)
		}
		file := filepath.Join("testdata", k.Key+".json")
		if *update {
			if err := os.WriteFile(file, append(m.Body, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.TrimSpace(string(want)), string(m.Body)); d != "" {
			t.Errorf("%s: %s", k.Key, d)
		}
	}
}

// What is incomplete is an error that names the part, and no message.
func TestNothingIncompleteIsTold(t *testing.T) {
	type messager interface{ Message() (Message, error) }
	with := func(m messager) func() (Message, error) { return m.Message }
	for name, c := range map[string]struct {
		make func() (Message, error)
		says string
	}{
		"sentiment without event id":      {func() (Message, error) { s := sentiment; s.EventID = ""; return s.Message() }, "UUID"},
		"sentiment without platform":      {func() (Message, error) { s := sentiment; s.Platform = ""; return s.Message() }, "platform"},
		"sentiment without shortcode":     {func() (Message, error) { s := sentiment; s.Shortcode = ""; return s.Message() }, "shortcode"},
		"sentiment without comment id":    {func() (Message, error) { s := sentiment; s.CommentID = ""; return s.Message() }, "comment id"},
		"sentiment without time":          {func() (Message, error) { s := sentiment; s.At = time.Time{}; return s.Message() }, "time"},
		"order without id":                {func() (Message, error) { o := order; o.ID = ""; return o.Message() }, "order id"},
		"activity without type":           {func() (Message, error) { a := activity; a.Type = ""; return a.Message() }, "type"},
		"activity without channel":        {func() (Message, error) { a := activity; a.Channel = ""; return a.Message() }, "channel"},
		"subscription without since":      {func() (Message, error) { s := subscription; s.Since = time.Time{}; return s.Message() }, "since"},
		"subscription without subscriber": {func() (Message, error) { s := subscription; s.Subscriber = ""; return s.Message() }, "subscriber"},
		"job of two parts":                {func() (Message, error) { r := keywordReport; r.JobID = "PROD_x"; return r.Message() }, "three parts"},
		"job with an empty part":          {func() (Message, error) { r := keywordReport; r.JobID = "PROD__x"; return r.Message() }, "three parts"},
		"report without bucket":           {func() (Message, error) { r := keywordReport; r.Bucket = ""; return r.Message() }, "bucket"},
		"report with a slash in front":    {func() (Message, error) { r := keywordReport; r.Path = "/a"; return r.Message() }, "path"},
		"report without demographic file": {func() (Message, error) { r := keywordReport; r.DemographicPath = ""; return r.Message() }, "demographic"},
		"sentiment report of profiles":    {func() (Message, error) { r := sentimentReport; r.Type = "PROFILE"; return r.Message() }, "POST"},
		"sentiment report of nothing":     {func() (Message, error) { r := sentimentReport; r.ID = ""; return r.Message() }, "collection id"},
		"nothing at all":                  {with(ChannelActivity{}), "UUID"},
	} {
		if m, err := c.make(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %s, %v, want an error with %q", name, m.Body, err, c.says)
		}
	}
}

// fields is what a reader of section 3 makes of the members: how its decoder
// treats them.
var fields = map[string]map[string]string{
	KeyTask: {"event_id": "string", "scl_id": "digits", "flow": "string", "platform": "string", "params": "object", "status": "string",
		"priority": "priority", "reason": "string?", "event_timestamp": "time", "picked_at": "time?", "expires_at": "time?"},
	KeyProfile: {"event_id": "string", "source": "string", "platform": "string", "profile_id": "string", "handle": "string?",
		"event_timestamp": "time", "metrics": "object", "dimensions": "object"},
	KeyPost: {"event_id": "string", "source": "string?", "platform": "string", "profile_id": "string", "handle": "string?", "shortcode": "string",
		"publish_time": "time?", "event_timestamp": "time", "metrics": "object", "dimensions": "object"},
	KeyRelationship: {"event_id": "string", "source": "string", "relationship_type": "string", "platform": "string", "source_profile_id": "string",
		"target_profile_id": "string", "event_timestamp": "time", "source_metrics": "object", "target_metrics": "object",
		"source_dimensions": "object", "target_dimensions": "object"},
	KeyActivity: {"event_id": "string", "source": "string", "activity_type": "string", "platform": "string", "actor_profile_id": "string?",
		"shortcode": "string", "publish_time": "time?", "event_timestamp": "time", "metrics": "object", "dimensions": "object"},
	KeySentiment: {"event_id": "string", "source": "string", "platform": "string", "shortcode": "string", "comment_id": "string",
		"event_timestamp": "time", "comment": "string?", "sentiment": "string?", "score": "number?", "metrics": "object", "dimensions": "object"},
	KeyOrder: {"event_id": "string", "source": "string", "platform": "string", "platform_order_id": "string", "store": "string?",
		"event_timestamp": "time", "metrics": "object", "dimensions": "object"},
	KeyTrace: {"serviceName": "string", "hostName": "string?", "timeTaken": "number?", "method": "string", "uri": "string", "headers": "object",
		"responseStatus": "number?", "remoteAddress": "string", "onlyRequest": "bool", "requestBody": "string?", "responseBody": "string?"},
	KeyChannelActivity: {"event_id": "string", "activity_id": "string", "activity_type": "string", "source": "string", "platform": "string",
		"actor_channel_id": "string", "metrics": "object", "dimensions": "object", "event_timestamp": "time"},
	KeySubscription: {"event_id": "string", "relationship_id": "string", "relationship_type": "string", "source": "string", "platform": "string",
		"source_channel_id": "string", "target_channel_id": "string", "source_metrics": "object", "target_metrics": "object",
		"source_dimensions": "object", "target_dimensions": "object", "subscribed_on": "time", "event_timestamp": "time"},
}

var clock = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)

// each calls f for every member that a reader of section 3 decodes in one of
// these ways.
func each(t *testing.T, f func(name string, v any), ways ...string) {
	t.Helper()
	n := 0
	for key, m := range specimens(t) {
		var body map[string]any
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for name, way := range fields[key] {
			if slices.Contains(ways, way) {
				v, ok := body[name]
				if !ok {
					t.Errorf("%s: %s is left out", key, name)
				}
				f(key+" "+name, v)
				n++
			}
		}
	}
	if n == 0 {
		t.Error("no member is decoded so")
	}
}

func TestE1EveryBodyIsOneValidObject(t *testing.T) {
	ms := specimens(t)
	nan := sentiment
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		nan.Score = &v
		m, err := nan.Message()
		if err != nil || !strings.Contains(string(m.Body), `"score":null`) {
			t.Errorf("a score of %v is told as %s, %v", v, m.Body, err)
		}
		ms[fmt.Sprint(v)] = m
	}
	huge := order
	huge.Dimensions = kvs("order_data", `{"total":1e999}`, "name", "\"\xff\"")
	m, err := huge.Message()
	if err != nil {
		t.Fatal(err)
	}
	ms["huge"] = m
	for key, m := range ms {
		if m.Body[0] != '{' || !json.Valid(m.Body) {
			t.Errorf("%s: %s", key, m.Body)
		}
		var v map[string]any
		if err := json.Unmarshal(m.Body, &v); err != nil {
			t.Errorf("%s: a reader in Go: %v", key, err)
		}
	}
}

func TestE2EveryRequiredKeyIsPresent(t *testing.T) {
	each(t, func(string, any) {}, "string", "string?", "digits", "time", "time?", "object", "number?", "priority", "bool")
}

func TestE3IdentifiersAreStrings(t *testing.T) {
	each(t, func(name string, v any) {
		if s, ok := v.(string); !ok || s == "" {
			t.Errorf("%s is %v", name, v)
		}
	}, "string", "digits")
	each(t, func(name string, v any) {
		if _, ok := v.(string); !ok && v != nil {
			t.Errorf("%s is %v", name, v)
		}
	}, "string?")
}

func TestE4TimesAreUTCInTheFormWithABlank(t *testing.T) {
	each(t, func(name string, v any) {
		s, ok := v.(string)
		if v == nil && !ok { // allowed, and checked by each for the required ones below
			return
		}
		at, err := time.Parse(time.DateTime, s)
		if !clock.MatchString(s) || err != nil || at.Year() < 2000 {
			t.Errorf("%s is %q", name, s)
		}
	}, "time", "time?")
	each(t, func(name string, v any) {
		if v == nil {
			t.Errorf("%s is null", name)
		}
		if strings.HasSuffix(name, " event_timestamp") && v != "2024-03-09 15:34:05" {
			t.Errorf("%s is %v, want the UTC of %v", name, v, answered)
		}
	}, "time")
}

func TestE5ObjectsAreObjects(t *testing.T) {
	each(t, func(name string, v any) {
		if _, ok := v.(map[string]any); !ok {
			t.Errorf("%s is %v", name, v)
		}
	}, "object")
}

func TestE6NumbersAndBoolsThatKillTheirReader(t *testing.T) {
	each(t, func(name string, v any) {
		if _, ok := v.(float64); !ok && v != nil {
			t.Errorf("%s is %v", name, v)
		}
	}, "number?", "priority")
	each(t, func(name string, v any) {
		if _, ok := v.(bool); !ok && v != nil {
			t.Errorf("%s is %v", name, v)
		}
	}, "bool")
	for _, score := range []*float64{nil, new(0.0), new(1e-9), new(-3.0)} {
		s := sentiment
		s.Score = score
		m, err := s.Message()
		if err == nil {
			err = amqpcheck.Check(m.Key, m.Body)
		}
		if err != nil {
			t.Errorf("score %v: %v", score, err)
		}
	}
}

// E7, C4 and 2.1: what crosses the broker, under every key.
func TestE7NoHeadersAndTheOldProperties(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	defer ch.Close()
	if err := DeclareConsumers(t.Context(), url, Consumers{}); err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys { // two have no known reader
		if k.Queue == "" {
			k.Queue = k.Key + "_test"
			declareQueue(t, ch, k, nil)
		}
	}
	p := start(t, Config{URL: url})
	defer p.stop()
	ms := specimens(t)
	var all []Message
	for _, k := range Keys {
		all = append(all, ms[k.Key])
	}
	if err := p.Publish(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys {
		queue := k.Queue
		if queue == "" {
			queue = k.Key + "_test"
		}
		ds := take(t, ch, queue)
		if len(ds) != 1 {
			t.Fatalf("%d messages in %s, want 1", len(ds), queue)
		}
		d := ds[0]
		if len(d.Headers) != 0 {
			t.Errorf("%s: headers %v", k.Key, d.Headers)
		}
		if d.ContentType != "application/json" || d.ContentEncoding != "utf-8" || d.DeliveryMode != amqp.Persistent || d.Priority != 0 || d.Expiration != "" {
			t.Errorf("%s: properties %+v", k.Key, d)
		}
		if d.MessageId != ms[k.Key].ID || d.RoutingKey != k.Key || d.Exchange != k.Exchange { // E8
			t.Errorf("%s: id %s under %s/%s", k.Key, d.MessageId, d.Exchange, d.RoutingKey)
		}
		if string(d.Body) != string(ms[k.Key].Body) {
			t.Errorf("%s: the body was changed: %s", k.Key, d.Body)
		}
	}
}

func TestE8ExactRoutingKeys(t *testing.T) {
	want := []string{
		"beat.dx scrape_request_log_events", "beat.dx profile_log_events", "beat.dx post_log_events", "beat.dx profile_relationship_log_events",
		"beat.dx post_activity_log_events", "beat.dx post_activity_log_bulk", "beat.dx sentiment_log_events", "beat.dx order_log_events",
		"beat.dx yt_activity_log_events", "beat.dx yt_profile_relationship_log_events", "coffee.dx keyword_collection_report_completion",
		"coffee.dx sentiment_collection_report_out_rk", "identity.dx trace_log",
	}
	var got []string
	for _, k := range Keys {
		got = append(got, k.Exchange+" "+k.Key)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if k := keyIndex(BeatExchange, "post_log_events_bkp"); k >= 0 {
		t.Error("the lane for replays by hand is published to")
	}
	if k := keyIndex(IdentityExchange, "access_token_expired_rk"); k >= 0 {
		t.Error("a key is published to that nobody confirmed")
	}
}

// E9 for identifiers; what a provider sends inside of dimensions stays exact.
func TestE9LargeIntegers(t *testing.T) {
	each(t, func(name string, v any) {
		if f, ok := v.(float64); ok && math.Abs(f) >= 1<<53 {
			t.Errorf("%s is %v", name, f)
		}
	}, "string", "digits", "number?", "priority")
	ms := specimens(t)
	for key, want := range map[string]string{KeyTask: `"hash":18446744073709551615`, KeyOrder: `"id":5123456789012`} {
		if !strings.Contains(string(ms[key].Body), want) {
			t.Errorf("%s: %s, want %s in it", key, ms[key].Body, want)
		}
	}
}

func TestE10OneEventPerMessage(t *testing.T) {
	c := commit(social.Instagram)
	for i := range 3 {
		c.Events = append(c.Events, event.Event{ID: event.ID("e10", i), Log: social.Log{Kind: social.Post, Key: fmt.Sprint(i), Owner: "o", Source: "s"}})
	}
	ids := map[string]bool{}
	for _, m := range told(t, c) {
		var e struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal(m.Body, &e); err != nil || e.ID != m.ID {
			t.Errorf("%s holds %q: %v", m.ID, e.ID, err)
		}
		ids[m.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d messages of 3 events", len(ids))
	}
}

// C1, C2: what coffee's handlers read, as they read it.
func TestC1CoffeeReadsItsReports(t *testing.T) {
	ms := specimens(t)
	var keyword struct {
		JobID  string `json:"job_id"`
		Report struct {
			Path, Bucket string
		} `json:"report_asset"`
		Demographic struct {
			Path, Bucket string
		} `json:"demographic_report_asset"`
	}
	if err := json.Unmarshal(ms[KeyKeywordReport].Body, &keyword); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(keyword.JobID, "_")
	if len(parts) != 3 || parts[2] != "3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11" || keyword.JobID != keywordReport.JobID {
		t.Errorf("the collection of job %q", keyword.JobID)
	}
	if keyword.Report.Path == "" || keyword.Report.Bucket == "" || keyword.Demographic.Path == "" || keyword.Demographic.Bucket != keyword.Report.Bucket {
		t.Errorf("the assets are %+v and %+v", keyword.Report, keyword.Demographic)
	}
	var report struct{ CollectionType, CollectionID, SentimentReportPath, SentimentReportBucket string }
	if err := json.Unmarshal(ms[KeySentimentReport].Body, &report); err != nil {
		t.Fatal(err)
	}
	if report.CollectionType != "POST" || report.CollectionID != sentimentReport.ID || report.SentimentReportPath == "" || report.SentimentReportBucket == "" {
		t.Errorf("the report is %+v", report)
	}
}

func TestC2IdentifiersAreEchoedAsText(t *testing.T) {
	for _, id := range []string{"42", "007", "a b", `q"uote`, "ü"} {
		r := sentimentReport
		r.ID = id
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID any `json:"collectionId"`
		}
		if err := json.Unmarshal(m.Body, &got); err != nil || got.ID != id {
			t.Errorf("collection %q comes back as %#v, %v", id, got.ID, err)
		}
	}
}

// 7.3: what stir extracts by name is there by that name, numbers without quotes.
func TestStirReadsNamesAndNumbers(t *testing.T) {
	ms := specimens(t)
	for key, wants := range map[string][]string{
		KeyTask:         {`"scl_id":"88"`, `"picked_at":"2024-03-09 15:33:05"`, `"retry_count":1`, `"params":{"hash":`},
		KeyProfile:      {`"source":"openapi_profile_info_v0.12"`, `"metrics":{"followers":null,"following":12}`}, // JSONHas finds null
		KeyPost:         {`"shortcode":"31980"`, `"profile_er":null`, `"post_type":"story"`, `"source":""`},
		KeyActivity:     {`"comment_id":"17900000000000001"`, `"keywords":"['höher']"`, `"publish_time":"2024-03-09 16:00:00"`},
		KeySentiment:    {`"score":0.9731`, `"source":"beat"`, `"sentiment":"POSITIVE"`},
		KeyRelationship: {`"source_dimensions":{"handle":"a.b"`, `"source_profile_id":"77"`, `"target_profile_id":"90210"`},
		KeySubscription: {`"source_channel_id":"UCa1"`, `"target_channel_id":"UCz9"`, `"subscribed_on":"2023-03-09 15:34:05"`},
	} {
		for _, want := range wants {
			if !strings.Contains(string(ms[key].Body), want) {
				t.Errorf("%s: %s, want %s in it", key, ms[key].Body, want)
			}
		}
	}
}

// Any values at all: an error, or a body that a strict reader takes.
func FuzzLater(f *testing.F) {
	f.Add("id", "two", "UCx", `{"a":[1e999,"x"]}`, 0.5, int64(1710000000))
	f.Add("", "\x00\xff", "/", `null`, math.Inf(1), int64(-1))
	f.Fuzz(func(t *testing.T, a, b, c, value string, score float64, at int64) {
		dims := social.KVs{{Key: a, Value: social.String(value)}}
		if json.Valid([]byte(value)) {
			dims = append(dims, social.KV{Key: b, Value: json.RawMessage(value)})
		}
		id, when := event.ID(a), time.Unix(at, 0)
		for _, m := range []interface{ Message() (Message, error) }{
			Sentiment{id, social.Platform(c), a, b, when, &c, &value, &score},
			Order{id, a, &b, when, dims},
			ChannelActivity{id, a, b, "ytapi", c, when, dims},
			Subscription{id, a, "ytapi", b, c, when, when, dims, dims},
			KeywordReport{"E_KC_" + a, b, c, value},
			SentimentReport{"POST", a, b, c},
		} {
			msg, err := m.Message()
			if err != nil {
				continue
			}
			if err := amqpcheck.Check(msg.Key, msg.Body); err != nil {
				t.Errorf("%v in %s", err, msg.Body)
			}
			if len(msg.ID) > 255 || !isUUID(msg.ID) {
				t.Error(errors.New("the message id is " + msg.ID))
			}
		}
	})
}
