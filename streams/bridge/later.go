package bridge

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"beat/streams/event"
	"beat/streams/social"
)

// What is told about logs of kinds that no flow makes yet: contract/amqp.md 4.7
// to 4.12. Each is a function of a small value, for who makes the log to call.
// An error means that it can never be told: a part is missing that the contract
// requires. Every body without error passes amqpcheck.Check.

// A Sentiment is what the model says of one comment (4.7).
type Sentiment struct {
	EventID   string
	Platform  social.Platform
	Shortcode string
	CommentID string
	At        time.Time
	Comment   *string
	Label     *string  // as the model gives it
	Score     *float64 // no number, infinity too, is told as null: text there kills its reader
}

// Message is sentiment_log_events.
func (s Sentiment) Message() (Message, error) {
	dst, err := begin(s.EventID, "beat", s.Platform)
	if err != nil {
		return Message{}, fmt.Errorf("bridge: sentiment of comment %q: %w", s.CommentID, err)
	}
	dst = textFields(dst, "shortcode", s.Shortcode, "comment_id", s.CommentID)
	dst = timeField(dst, "event_timestamp", s.At)
	dst = nullable(dst, "comment", s.Comment)
	dst = nullable(dst, "sentiment", s.Label)
	dst = append(dst, `,"score":`...)
	if s.Score == nil || math.IsNaN(*s.Score) || math.IsInf(*s.Score, 0) {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendFloat(dst, *s.Score, 'g', -1, 64)
	}
	dst = append(dst, `,"metrics":{},"dimensions":{}}`...)
	return finish(BeatExchange, KeySentiment, s.EventID, dst, s.At, nil, "shortcode", s.Shortcode, "comment id", s.CommentID)
}

// An Order is one order of a shop (4.8).
type Order struct {
	EventID    string
	ID         string // platform_order_id
	Store      *string
	At         time.Time
	Dimensions social.KVs // as the parser makes them, order_data is the whole order
}

// Message is order_log_events.
func (o Order) Message() (Message, error) {
	dst, err := begin(o.EventID, "shopify", "SHOPIFY")
	if err != nil {
		return Message{}, fmt.Errorf("bridge: order %q: %w", o.ID, err)
	}
	dst = textFields(dst, "platform_order_id", o.ID)
	dst = nullable(dst, "store", o.Store)
	dst = timeField(dst, "event_timestamp", o.At)
	dst = append(dst, `,"metrics":{},"dimensions":`...)
	dst = append(o.Dimensions.AppendUnique(dst), '}')
	return finish(BeatExchange, KeyOrder, o.EventID, dst, o.At, nil, "order id", o.ID)
}

// A ChannelActivity is what a YouTube channel did (4.9).
type ChannelActivity struct {
	EventID    string
	ID         string // of the API
	Type       string // subscription, playlistItem, upload, …
	Source     string
	Channel    string // who did it
	At         time.Time
	Dimensions social.KVs
}

// Message is yt_activity_log_events.
func (a ChannelActivity) Message() (Message, error) {
	if !isUUID(a.EventID) {
		return Message{}, fmt.Errorf("bridge: activity %q: event id %q is no UUID", a.ID, a.EventID)
	}
	dst := append([]byte(`{"event_id":"`), a.EventID...)
	dst = append(dst, '"')
	dst = textFields(dst, "activity_id", a.ID, "activity_type", a.Type, "source", a.Source, "platform", string(social.YouTube), "actor_channel_id", a.Channel)
	dst = append(dst, `,"metrics":{},"dimensions":`...)
	dst = a.Dimensions.AppendUnique(dst)
	dst = append(timeField(dst, "event_timestamp", a.At), '}')
	return finish(BeatExchange, KeyChannelActivity, a.EventID, dst, a.At, nil,
		"activity id", a.ID, "type", a.Type, "source", a.Source, "channel", a.Channel)
}

// A Subscription is that one YouTube channel follows another (4.10).
type Subscription struct {
	EventID          string
	ID               string // of the API
	Source           string
	Subscriber       string // channel id
	Channel          string // what is subscribed to
	Since            time.Time
	At               time.Time
	Dimensions       social.KVs // of the subscriber
	TargetDimensions social.KVs // of the channel
}

// Message is yt_profile_relationship_log_events.
func (s Subscription) Message() (Message, error) {
	if !isUUID(s.EventID) {
		return Message{}, fmt.Errorf("bridge: subscription %q: event id %q is no UUID", s.ID, s.EventID)
	}
	dst := append([]byte(`{"event_id":"`), s.EventID...)
	dst = append(dst, '"')
	dst = textFields(dst, "relationship_id", s.ID, "relationship_type", "subscription", "source", s.Source,
		"platform", string(social.YouTube), "source_channel_id", s.Subscriber, "target_channel_id", s.Channel)
	dst = append(dst, `,"source_metrics":{},"target_metrics":{},"source_dimensions":`...)
	dst = s.Dimensions.AppendUnique(dst)
	dst = append(dst, `,"target_dimensions":`...)
	dst = s.TargetDimensions.AppendUnique(dst)
	dst = timeField(dst, "subscribed_on", s.Since)
	dst = append(timeField(dst, "event_timestamp", s.At), '}')
	return finish(BeatExchange, KeySubscription, s.EventID, dst, s.At, &s.Since,
		"relationship id", s.ID, "source", s.Source, "subscriber", s.Subscriber, "channel", s.Channel)
}

// A KeywordReport is done when both of its files are where they say (4.11, C3).
type KeywordReport struct {
	JobID           string // as it came in; of three parts joined by _, or its reader drops the message
	Bucket          string
	Path            string // without a slash at its beginning
	DemographicPath string
}

// Message is keyword_collection_report_completion. Its id names the report, so
// that telling it twice is telling the same.
func (r KeywordReport) Message() (Message, error) {
	if n := strings.Count(r.JobID, "_"); n != 2 || strings.Contains("_"+r.JobID+"_", "__") {
		return Message{}, fmt.Errorf("bridge: keyword report: job id %q has not three parts", r.JobID)
	}
	dst := textFields([]byte{'{'}, "job_id", r.JobID)
	dst = append(dst, `,"report_asset":{`...)
	dst = textFields(dst, "path", r.Path, "bucket", r.Bucket)
	dst = append(dst, `},"demographic_report_asset":{`...)
	dst = append(textFields(dst, "path", r.DemographicPath, "bucket", r.Bucket), "}}"...)
	return toCoffee(KeyKeywordReport, dst, r.JobID, r.Path, "bucket", r.Bucket, "path", r.Path, "demographic path", r.DemographicPath)
}

// A SentimentReport is done when its file is where it says (4.12, C3).
type SentimentReport struct {
	Type   string // POST
	ID     string // of the collection, as it came in
	Bucket string
	Path   string // without a slash at its beginning
}

// Message is sentiment_collection_report_out_rk.
func (r SentimentReport) Message() (Message, error) {
	if r.Type != "POST" {
		return Message{}, fmt.Errorf("bridge: sentiment report: collection type %q, want POST", r.Type)
	}
	dst := textFields([]byte{'{'}, "collectionType", r.Type, "collectionId", r.ID, "sentimentReportPath", r.Path, "sentimentReportBucket", r.Bucket)
	return toCoffee(KeySentimentReport, append(dst, '}'), r.ID, r.Path, "collection id", r.ID, "path", r.Path, "bucket", r.Bucket)
}

// toCoffee checks a body whose required parts are given as name and value. Its id
// is derived from what the report is of.
func toCoffee(key string, body []byte, of, path string, parts ...string) (Message, error) {
	for i := 0; i < len(parts); i += 2 {
		if name, v := parts[i], parts[i+1]; v == "" || strings.HasSuffix(name, "path") && v[0] == '/' {
			return Message{}, fmt.Errorf("bridge: %s: %s is %q", key, name, v)
		}
	}
	body, err := tame(body)
	if err != nil {
		return Message{}, fmt.Errorf("bridge: %s: %w", key, err)
	}
	return Message{CoffeeExchange, key, event.ID(key, of, path), body}, nil
}

// begin opens a body with what all have.
func begin(id, source string, p social.Platform) ([]byte, error) {
	platform, err := platformOf(p)
	if err == nil && !isUUID(id) {
		err = fmt.Errorf("event id %q is no UUID", id)
	}
	if err != nil {
		return nil, err
	}
	dst := append([]byte(`{"event_id":"`), id...)
	dst = append(dst, '"')
	return textFields(dst, "source", source, "platform", platform), nil
}

// finish checks a body whose required parts are given as name and value.
func finish(exchange, key, id string, body []byte, at time.Time, since *time.Time, parts ...string) (Message, error) {
	err := error(nil)
	for i := 0; i < len(parts) && err == nil; i += 2 {
		if parts[i+1] == "" {
			err = fmt.Errorf("%s is missing", parts[i])
		}
	}
	switch {
	case err != nil:
	case !tellable(at.UTC()):
		err = fmt.Errorf("time %s is out of range", at)
	case since != nil && !tellable(since.UTC()):
		err = errors.New("the time since when is missing or out of range")
	default:
		body, err = tame(body)
	}
	if err != nil {
		return Message{}, fmt.Errorf("bridge: %s: %w", key, err)
	}
	return Message{exchange, key, id, body}, nil
}

// textFields appends fields by name and value.
func textFields(dst []byte, pairs ...string) []byte {
	for i := 0; i < len(pairs); i += 2 {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, pairs[i]...)
		dst = append(dst, `":`...)
		dst = social.AppendString(dst, pairs[i+1])
	}
	return dst
}

func timeField(dst []byte, name string, t time.Time) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendTime(dst, t.UTC())
}

func nullable(dst []byte, name string, v *string) []byte {
	if v != nil {
		return textFields(dst, name, *v)
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	return append(dst, `":null`...)
}
