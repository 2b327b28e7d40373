package projections

import (
	"time"

	"github.com/tidwall/gjson"

	"beat/streams/social"
)

// A rule says when a value may be written (contract/postgres.md, marks).
type rule int

const (
	// ruleS: neither null nor the empty text.
	ruleS rule = iota
	// ruleO: whatever the answer says. Decision 20: null says nothing.
	ruleO
)

// A column is a row of the mapping tables of contract/flows.md section 8.
type column struct {
	name string
	typ  string // Postgres type
}

// A table is where logs of one kind end up.
type table struct {
	name    string
	key     string // unique column that holds Log.Key
	rule    rule
	columns map[string]column // dimension or metric key → column
	owner   string            // column that takes Log.Owner when the log has no such key, "" none
}

const (
	text    = "text"
	bigint  = "int8"
	boolean = "bool"
	float   = "float8"
	stamp   = "timestamp"
)

func same(typ string, names ...string) map[string]column {
	m := map[string]column{}
	for _, n := range names {
		m[n] = column{n, typ}
	}
	return m
}

func merge(ms ...map[string]column) map[string]column {
	out := map[string]column{}
	for _, m := range ms {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// tables is the mapping, by platform and kind.
var tables = map[social.Platform]map[social.Kind]*table{
	social.Instagram: {
		social.Profile: {
			name: "instagram_account", key: "profile_id", rule: ruleS,
			columns: merge(
				same(text, "category_id", "category", "fbid", "full_name", "profile_type", "handle", "profile_pic_url"),
				same(bigint, "followers", "following", "media_count"),
				same(boolean, "is_business_or_creator", "is_private", "is_verified"),
				map[string]column{"bio": {"biography", text}},
			),
		},
		social.Post: {
			name: "instagram_post", key: "shortcode", rule: ruleS, owner: "profile_id",
			columns: merge(
				same(text, "caption", "display_url", "handle", "post_id", "post_type", "profile_id", "content_type", "keywords"),
				same(bigint, "comments", "impressions", "interactions", "likes", "reach", "saved", "shares",
					"automatic_forward", "swipe_back", "swipe_forward", "swipe_up", "swipe_down", "replies", "navigation",
					"profile_activity", "profile_visits", "follows", "video_views"),
				same(float, "engagement"),
				map[string]column{
					"play_count": {"plays", bigint}, "view_count": {"views", bigint},
					"tap_forward": {"taps_forward", bigint}, "tap_back": {"taps_back", bigint}, "tap_exit": {"exits", bigint},
					"thumbnail_src": {"thumbnail_url", text}, "taken_at_timestamp": {"publish_time", stamp},
				},
			),
		},
	},
	social.YouTube: {
		social.Profile: {
			name: "youtube_account", key: "channel_id", rule: ruleO,
			columns: merge(
				same(text, "title", "description", "custom_url", "country", "uploads_playlist_id", "thumbnails", "thumbnail", "external_urls"),
				same(boolean, "is_verified"),
				map[string]column{
					"taken_at_timestamp": {"published_at", stamp}, "video_count": {"uploads", bigint},
					"view_count": {"views", bigint}, "subscriber_count": {"subscribers", bigint},
					"hidden_subscriber_count": {"is_subscriber_count_hidden", boolean},
				},
			),
		},
	},
}

// value reads v for c. ok is false when there is nothing to write.
func (t *table) value(c column, v []byte) (out any, ok bool) {
	r := gjson.ParseBytes(v)
	if r.Type == gjson.Null {
		return nil, false
	}
	switch c.typ {
	case bigint:
		switch r.Type {
		case gjson.Number:
			if n := r.Int(); float64(n) == r.Num || r.Num == float64(int64(r.Num)) {
				return n, true
			}
			return int64(r.Num), true
		case gjson.String:
			n := gjson.Parse(r.Str)
			return n.Int(), n.Type == gjson.Number
		}
		return nil, false
	case float:
		return r.Float(), r.Type == gjson.Number
	case boolean:
		switch r.Type {
		case gjson.True, gjson.False:
			return r.Bool(), true
		case gjson.Number:
			return r.Num != 0, true
		}
		return nil, false
	case stamp:
		return moment(r)
	}
	s := r.String()
	if s == "" && t.rule == ruleS || c.name == "thumbnails" && s == "null" {
		return nil, false
	}
	return s, true
}

// moment accepts epoch seconds (number or text) and RFC 3339 text.
func moment(r gjson.Result) (any, bool) {
	if r.Type == gjson.String {
		if t, err := time.Parse(time.RFC3339, r.Str); err == nil {
			return t.UTC(), true
		}
		r = gjson.Parse(r.Str)
	}
	if r.Type != gjson.Number || r.Num < 1 || r.Num > 253402300799 {
		return nil, false
	}
	return time.Unix(int64(r.Num), 0).UTC(), true
}
