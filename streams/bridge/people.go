package bridge

import (
	"fmt"
	"time"

	"beat/streams/event"
	"beat/streams/social"
)

// What people do: contract/amqp.md 4.4 to 4.6.

func appendRelationship(dst []byte, e *event.Event, platform string, at time.Time) ([]byte, error) {
	l := &e.Log
	switch {
	case !isUUID(e.ID):
		return dst, fmt.Errorf("event id %q is no UUID", e.ID)
	case l.Key == "" || l.Target == "" || l.Type == "":
		return dst, fmt.Errorf("relationship %q of %q with %q lacks a part", l.Type, l.Key, l.Target)
	case l.Source == "":
		return dst, fmt.Errorf("relationship of %s without source", l.Key)
	}
	dst = append(dst, `{"event_id":"`...)
	dst = append(dst, e.ID...)
	dst = append(dst, `","source":`...)
	dst = social.AppendString(dst, l.Source)
	dst = append(dst, `,"relationship_type":`...)
	dst = social.AppendString(dst, l.Type)
	dst = append(dst, `,"platform":"`...)
	dst = append(dst, platform...)
	dst = append(dst, `","source_profile_id":`...)
	dst = social.AppendString(dst, l.Key)
	dst = append(dst, `,"target_profile_id":`...)
	dst = social.AppendString(dst, l.Target)
	dst = append(dst, `,"event_timestamp":`...)
	dst = appendTime(dst, at)
	dst = append(dst, `,"source_metrics":`...)
	dst = numbers(l.Metrics).AppendUnique(dst)
	dst = append(dst, `,"target_metrics":{},"source_dimensions":`...)
	dst = l.Dimensions.AppendUnique(dst)
	dst = append(dst, `,"target_dimensions":`...)
	dst = l.TargetDimensions.AppendUnique(dst)
	return append(dst, '}'), nil
}

func appendActivity(dst []byte, e *event.Event, platform string, at time.Time) ([]byte, error) {
	l := &e.Log
	switch {
	case !isUUID(e.ID):
		return dst, fmt.Errorf("event id %q is no UUID", e.ID)
	case l.Key == "" || l.Type == "":
		return dst, fmt.Errorf("activity %q of post %q lacks a part", l.Type, l.Key)
	case l.Source == "":
		return dst, fmt.Errorf("activity of post %s without source", l.Key)
	}
	dst = append(dst, `{"event_id":"`...)
	dst = append(dst, e.ID...)
	dst = append(dst, `","source":`...)
	dst = social.AppendString(dst, l.Source)
	dst = append(dst, `,"activity_type":`...)
	dst = social.AppendString(dst, l.Type)
	dst = append(dst, `,"platform":"`...)
	dst = append(dst, platform...)
	dst = append(dst, `","actor_profile_id":`...)
	dst = appendActor(dst, l)
	dst = append(dst, `,"shortcode":`...)
	dst = social.AppendString(dst, l.Key)
	dst = append(dst, `,"publish_time":`...)
	if t, ok := publishTime(l.Dimensions); ok {
		dst = appendTime(dst, t)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"event_timestamp":`...)
	dst = appendTime(dst, at)
	return appendFacts(dst, l), nil
}

func appendActor(dst []byte, l *social.Log) []byte {
	if l.Actor == "" {
		return append(dst, "null"...)
	}
	return social.AppendString(dst, l.Actor)
}

// activities is the message about a whole page, an empty one too, that our own
// sentiment analysis reads.
func activities(c event.Commit, platform string, at time.Time) []byte {
	dst := append([]byte(`{"platform":"`), platform...)
	dst = append(dst, `","activity_type":`...)
	if len(c.Events) > 0 {
		dst = social.AppendString(dst, c.Events[0].Log.Type)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"post_activity_logs":[`...)
	for i := range c.Events {
		l := &c.Events[i].Log
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"activity_type":`...)
		dst = social.AppendString(dst, l.Type)
		dst = append(dst, `,"platform":"`...)
		dst = append(dst, platform...)
		dst = append(dst, `","platform_post_id":`...)
		dst = social.AppendString(dst, l.Key)
		dst = append(dst, `,"actor_profile_id":`...)
		dst = appendActor(dst, l)
		dst = append(dst, `,"dimensions":`...)
		dst = l.Dimensions.AppendPairs(dst)
		dst = append(dst, `,"metrics":`...)
		dst = l.Metrics.AppendPairs(dst)
		dst = append(dst, `,"source":`...)
		dst = social.AppendString(dst, l.Source)
		dst = append(dst, `,"timestamp":"`...)
		dst = at.AppendFormat(dst, "2006-01-02T15:04:05.000000")
		dst = append(dst, `"}`...)
	}
	return append(dst, "]}"...)
}
