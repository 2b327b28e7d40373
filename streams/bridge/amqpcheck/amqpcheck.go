// Package amqpcheck decodes AMQP bodies as strictly as contract/amqp.md,
// sections 2 to 4, allows. It is written from the contract, not from the
// encoder, and shares no code with it: tests, the demo and the benchmark hold
// what beat publishes against it.
//
// It is stricter than any consumer. Where the contract describes a defect and
// recommends the repair, only the repair passes: times in the form with a
// space, ids as text, no key left out.
package amqpcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A body is one decoded message, member by member.
type body map[string]json.RawMessage

// A field is one row of a table of section 4.
type field struct {
	name  string
	check func(json.RawMessage) error
}

// A shape is one message.
type shape struct {
	fields []field
	rule   func(body) error // what several fields say together; may be nil
}

var shapes = map[string]shape{
	"scrape_request_log_events": {[]field{ // 4.1
		{"event_id", uuid},
		{"scl_id", digits},
		{"flow", text},
		{"platform", anyPlatform},
		{"params", object},
		{"status", text},
		{"priority", or(null, integer)},
		{"reason", or(null, anyText)},
		{"event_timestamp", spaceTime},
		{"picked_at", or(null, spaceTime)},
		{"expires_at", or(null, spaceTime)},
		{"retry_count", or(null, integer)},
	}, pickedUnlessPending},
	"profile_log_events": {[]field{ // 4.2
		{"event_id", uuid},
		{"source", text},
		{"platform", platform},
		{"profile_id", text},
		{"handle", or(null, anyText)},
		{"event_timestamp", spaceTime},
		{"metrics", metrics()},
		{"dimensions", object},
	}, youtubeHandle},
	"post_log_events": {[]field{ // 4.3
		{"event_id", uuid},
		{"source", anyText},
		{"platform", platform},
		{"profile_id", or(null, text)},
		{"handle", or(null, anyText)},
		{"shortcode", text},
		{"publish_time", or(null, spaceTime)},
		{"event_timestamp", spaceTime},
		{"metrics", metrics()},
		{"dimensions", object},
	}, all(youtubeHandle, ownerKnown, publishedWhenTaken)},
	"profile_relationship_log_events": {[]field{ // 4.4
		{"event_id", uuid},
		{"source", text},
		{"relationship_type", oneOf("FOLLOWS")},
		{"platform", platform},
		{"source_profile_id", text},
		{"target_profile_id", text},
		{"event_timestamp", spaceTime},
		{"source_metrics", metrics()},
		{"target_metrics", metrics()},
		{"source_dimensions", object},
		{"target_dimensions", object},
	}, nil},
	"post_activity_log_events": {[]field{ // 4.5
		{"event_id", uuid},
		{"source", text},
		{"activity_type", oneOf("LIKE", "COMMENT")},
		{"platform", platform},
		{"actor_profile_id", or(null, text)},
		{"shortcode", text},
		{"publish_time", or(null, spaceTime)},
		{"event_timestamp", spaceTime},
		{"metrics", object}, // looked into by the rule
		{"dimensions", object},
	}, all(activityMetrics, commentID, publishedWhenTaken)},
	"post_activity_log_bulk": {[]field{ // 4.6
		{"platform", platform},
		{"activity_type", or(null, text)},
		{"post_activity_logs", listOf(shape{[]field{
			{"activity_type", text},
			{"platform", platform},
			{"platform_post_id", text},
			{"actor_profile_id", or(null, text)},
			{"dimensions", listOf(pair)},
			{"metrics", listOf(pair)},
			{"source", anyText},
			{"timestamp", isoTime},
		}, nil})},
	}, nil},
	"sentiment_log_events": {[]field{ // 4.7
		{"event_id", uuid},
		{"source", oneOf("beat")},
		{"platform", platform},
		{"shortcode", text},
		{"comment_id", text},
		{"event_timestamp", spaceTime},
		{"comment", or(null, anyText)},
		{"sentiment", or(null, anyText)},
		{"score", or(null, number)},
		{"metrics", emptyObject},
		{"dimensions", emptyObject},
	}, nil},
	"order_log_events": {[]field{ // 4.8
		{"event_id", uuid},
		{"source", oneOf("shopify")},
		{"platform", oneOf("SHOPIFY")},
		{"platform_order_id", text},
		{"store", or(null, anyText)},
		{"event_timestamp", spaceTime},
		{"metrics", emptyObject},
		{"dimensions", object},
	}, nil},
	"yt_activity_log_events": {[]field{ // 4.9
		{"event_id", uuid},
		{"activity_id", text},
		{"activity_type", text},
		{"source", text},
		{"platform", oneOf("YOUTUBE")},
		{"actor_channel_id", text},
		{"metrics", emptyObject},
		{"dimensions", object},
		{"event_timestamp", spaceTime},
	}, nil},
	"yt_profile_relationship_log_events": {[]field{ // 4.10
		{"event_id", uuid},
		{"relationship_id", text},
		{"relationship_type", oneOf("subscription")},
		{"source", text},
		{"platform", oneOf("YOUTUBE")},
		{"source_channel_id", text},
		{"target_channel_id", text},
		{"source_metrics", metrics()},
		{"target_metrics", metrics()},
		{"source_dimensions", object},
		{"target_dimensions", object},
		{"subscribed_on", spaceTime},
		{"event_timestamp", spaceTime},
	}, nil},
	"keyword_collection_report_completion": {[]field{ // 4.11
		{"job_id", jobID},
		{"report_asset", shaped(asset)},
		{"demographic_report_asset", shaped(asset)},
	}, nil},
	"sentiment_collection_report_out_rk": {[]field{ // 4.12
		{"collectionType", oneOf("POST")},
		{"collectionId", text},
		{"sentimentReportPath", text},
		{"sentimentReportBucket", text},
	}, nil},
	"trace_log": {[]field{ // 4.13
		{"id", uuid},
		{"hostname", anyText},
		{"hostName", anyText},
		{"serviceName", oneOf("beat")},
		{"timestamp", isoTime},
		{"timeTaken", integer},
		{"method", anyText},
		{"uri", anyText},
		{"headers", texts},
		{"responseStatus", integer},
		{"remoteAddress", anyText},
		{"onlyRequest", boolean},
		{"requestBody", exactly(`""`)},
		{"responseBody", exactly(`""`)},
	}, all(sameHost, noSecret)},
}

var pair = shape{[]field{{"key", text}, {"value", anything}}, nil}

var asset = shape{[]field{{"path", objectKey}, {"bucket", text}}, nil}

// Check returns nil when b is a message that may be published under the
// routing key. Otherwise the error names the field.
func Check(key string, b []byte) error {
	s, ok := shapes[key]
	if !ok {
		return fmt.Errorf("amqpcheck: %q is no routing key of the contract", key)
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("amqpcheck: %s: not UTF-8", key)
	}
	// As a consumer in Go does it: refuses NaN, and numbers beyond float64.
	var whole any
	if err := json.Unmarshal(b, &whole); err != nil {
		return fmt.Errorf("amqpcheck: %s: %w", key, err)
	}
	if err := s.check(b); err != nil {
		return fmt.Errorf("amqpcheck: %s: %w", key, err)
	}
	return nil
}

func (s shape) check(b []byte) error {
	m, err := members(b)
	if err != nil {
		return err
	}
	for _, f := range s.fields {
		v, ok := m[f.name]
		if !ok {
			return fmt.Errorf("%s: missing", f.name)
		}
		if err := f.check(v); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if len(m) > len(s.fields) {
		for name := range m {
			if !slices.ContainsFunc(s.fields, func(f field) bool { return f.name == name }) {
				return fmt.Errorf("%s: not in the contract", name)
			}
		}
	}
	if s.rule != nil {
		return s.rule(m)
	}
	return nil
}

// members reads one object whose keys are unique.
func members(b []byte) (body, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	m := body{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%s: occurs twice", name)
		}
		m[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something after the object")
	}
	return m, nil
}

// The checks of one value.

func or(checks ...func(json.RawMessage) error) func(json.RawMessage) error {
	return func(v json.RawMessage) error {
		var err error
		for _, check := range checks {
			if err = check(v); err == nil {
				return nil
			}
		}
		return err
	}
}

func null(v json.RawMessage) error { return exactly("null")(v) }

func exactly(want string) func(json.RawMessage) error {
	return func(v json.RawMessage) error {
		if string(v) != want {
			return fmt.Errorf("%s, want %s", brief(v), want)
		}
		return nil
	}
}

func anything(json.RawMessage) error { return nil }

func str(v json.RawMessage) (string, error) {
	if len(v) == 0 || v[0] != '"' {
		return "", fmt.Errorf("%s, want a string", brief(v))
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err
}

func anyText(v json.RawMessage) error {
	_, err := str(v)
	return err
}

func text(v json.RawMessage) error {
	return matching(v, func(s string) bool { return s != "" }, "text")
}

func matching(v json.RawMessage, ok func(string) bool, want string) error {
	s, err := str(v)
	if err == nil && !ok(s) {
		err = fmt.Errorf("%s, want %s", brief(v), want)
	}
	return err
}

var (
	uuidForm     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	digitsForm   = regexp.MustCompile(`^[0-9]+$`)
	platformForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	integerForm  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	jobForm      = regexp.MustCompile(`^[^_]+_[^_]+_[^_]+$`)
	isoForm      = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$`)
)

func uuid(v json.RawMessage) error {
	return matching(v, uuidForm.MatchString, "a UUID of version 4 or 5")
}

func digits(v json.RawMessage) error {
	return matching(v, digitsForm.MatchString, "a string of digits")
}

func platform(v json.RawMessage) error {
	return matching(v, platformForm.MatchString, "a platform in upper case")
}

// anyPlatform is what a requester supplied, in upper case.
func anyPlatform(v json.RawMessage) error {
	return matching(v, func(s string) bool { return s == strings.ToUpper(s) }, "a platform in upper case")
}

func jobID(v json.RawMessage) error {
	return matching(v, jobForm.MatchString, "three parts joined by _")
}

func objectKey(v json.RawMessage) error {
	return matching(v, func(s string) bool { return s != "" && s[0] != '/' }, "a path without leading slash")
}

func oneOf(words ...string) func(json.RawMessage) error {
	return func(v json.RawMessage) error {
		return matching(v, func(s string) bool { return slices.Contains(words, s) }, strings.Join(words, " or "))
	}
}

// spaceTime is YYYY-MM-DD HH:MM:SS. Formatting again finds what time.Parse
// forgives. A time before 1970 is what a consumer makes of nonsense.
func spaceTime(v json.RawMessage) error {
	return matching(v, func(s string) bool {
		t, err := time.Parse(time.DateTime, s)
		return err == nil && t.Format(time.DateTime) == s && t.Unix() > 0
	}, "YYYY-MM-DD HH:MM:SS")
}

func isoTime(v json.RawMessage) error {
	return matching(v, func(s string) bool {
		_, err := time.Parse("2006-01-02T15:04:05", s)
		return err == nil && isoForm.MatchString(s)
	}, "YYYY-MM-DDTHH:MM:SS.ffffff")
}

func number(v json.RawMessage) error {
	var f float64
	if len(v) == 0 || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return fmt.Errorf("%s, want a number", brief(v))
	}
	if err := json.Unmarshal(v, &f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return fmt.Errorf("%s, want a finite number", brief(v))
	}
	return nil
}

func integer(v json.RawMessage) error {
	if !integerForm.Match(v) {
		return fmt.Errorf("%s, want an integer", brief(v))
	}
	return nil
}

func boolean(v json.RawMessage) error { return or(exactly("true"), exactly("false"))(v) }

func object(v json.RawMessage) error {
	if len(v) == 0 || v[0] != '{' {
		return fmt.Errorf("%s, want an object", brief(v))
	}
	_, err := members(v)
	return err
}

func emptyObject(v json.RawMessage) error {
	m, err := members(v)
	if err == nil && len(m) > 0 {
		err = fmt.Errorf("%s, want {}", brief(v))
	}
	return err
}

func texts(v json.RawMessage) error {
	m, err := members(v)
	if err != nil {
		return err
	}
	for name, t := range m {
		if err := anyText(t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// metrics is an object of numbers and nulls, but for what is named.
func metrics(except ...string) func(json.RawMessage) error {
	return func(v json.RawMessage) error {
		m, err := members(v)
		if err != nil {
			return err
		}
		for name, n := range m {
			if slices.Contains(except, name) {
				continue
			}
			if err := or(null, number)(n); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
}

func shaped(s shape) func(json.RawMessage) error {
	return func(v json.RawMessage) error { return s.check(v) }
}

func listOf(s shape) func(json.RawMessage) error {
	return func(v json.RawMessage) error {
		var list []json.RawMessage
		if len(v) == 0 || v[0] != '[' {
			return fmt.Errorf("%s, want an array", brief(v))
		}
		if err := json.Unmarshal(v, &list); err != nil {
			return err
		}
		for i, e := range list {
			if err := s.check(e); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}
}

func brief(v json.RawMessage) string {
	if len(v) > 60 {
		return string(v[:60]) + "…"
	}
	return string(v)
}

// The rules of several fields.

func all(rules ...func(body) error) func(body) error {
	return func(m body) error {
		for _, rule := range rules {
			if err := rule(m); err != nil {
				return err
			}
		}
		return nil
	}
}

func (m body) text(name string) string {
	s, _ := str(m[name])
	return s
}

func (m body) dimension(name string) (json.RawMessage, bool) {
	d, err := members(m["dimensions"])
	v, ok := d[name]
	return v, ok && err == nil
}

func pickedUnlessPending(m body) error {
	if null(m["picked_at"]) == nil && m.text("status") != "PENDING" {
		return fmt.Errorf("picked_at: null for status %s", m.text("status"))
	}
	return nil
}

// youtubeHandle: the handle of YouTube is the channel id; Instagram's is the
// dimension of that name.
func youtubeHandle(m body) error {
	want := json.RawMessage("null")
	switch m.text("platform") {
	case "YOUTUBE":
		want = m["profile_id"]
	case "INSTAGRAM":
		if v, ok := m.dimension("handle"); ok && anyText(v) == nil {
			want = v
		}
	default:
		return nil
	}
	a, _ := str(want)
	if b := m.text("handle"); a != b || (null(want) == nil) != (null(m["handle"]) == nil) {
		return fmt.Errorf("handle: %s, want %s", brief(m["handle"]), brief(want))
	}
	return nil
}

func ownerKnown(m body) error {
	if null(m["profile_id"]) == nil && m.text("platform") != "YOUTUBE" {
		return errors.New("profile_id: null outside YouTube")
	}
	return nil
}

// publishedWhenTaken: where taken_at_timestamp is an integer, publish_time is
// that time, and null where it is zero or absent.
func publishedWhenTaken(m body) error {
	v, ok := m.dimension("taken_at_timestamp")
	if ok && !integerForm.Match(v) && null(v) != nil {
		return nil // in a form of the provider's own
	}
	want := ""
	var sec int64
	if ok && json.Unmarshal(v, &sec) == nil && sec > 0 && sec <= 253402300799 {
		want = time.Unix(sec, 0).UTC().Format(time.DateTime)
	}
	if got := m.text("publish_time"); got != want {
		return fmt.Errorf("publish_time: %s, want %q of taken_at_timestamp %s", m["publish_time"], want, v)
	}
	return nil
}

// activityMetrics: a thread of comments is an array, and YouTube's likes come
// as the API gives them.
func activityMetrics(m body) error {
	except := []string{"comments_thread"}
	if m.text("platform") == "YOUTUBE" {
		except = append(except, "likes")
	}
	if err := metrics(except...)(m["metrics"]); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	in, _ := members(m["metrics"])
	if v, ok := in["comments_thread"]; ok && v[0] != '[' {
		return fmt.Errorf("metrics: comments_thread: %s, want an array", brief(v))
	}
	return nil
}

func commentID(m body) error {
	if m.text("activity_type") != "COMMENT" {
		return nil
	}
	v, ok := m.dimension("comment_id")
	if !ok {
		return errors.New("dimensions: comment_id: missing")
	}
	if err := text(v); err != nil {
		return fmt.Errorf("dimensions: comment_id: %w", err)
	}
	return nil
}

func sameHost(m body) error {
	if m.text("hostname") != m.text("hostName") {
		return fmt.Errorf("hostName: %s, want %s", m["hostName"], m["hostname"])
	}
	return nil
}

var (
	secretParameter = regexp.MustCompile(`(?i)[?&#;](access_token|input_token|key|client_secret|refresh_token|token)=([^&#;]*)`)
	secretHeader    = regexp.MustCompile(`(?i)^authorization$|^cookie$|key|token|secret`)
)

func noSecret(m body) error {
	for _, name := range []string{"uri", "remoteAddress"} {
		for _, f := range secretParameter.FindAllStringSubmatch(m.text(name), -1) {
			if f[2] != "***" && f[2] != "" {
				return fmt.Errorf("%s: %s is not masked", name, f[1])
			}
		}
	}
	headers, err := members(m["headers"])
	if err != nil {
		return err
	}
	for name, v := range headers {
		if s, _ := str(v); secretHeader.MatchString(name) && s != "***" && s != "" {
			return fmt.Errorf("headers: %s is not masked", name)
		}
	}
	return nil
}
