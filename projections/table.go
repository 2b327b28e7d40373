package projections

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
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

// A column is a column of a table.
type column struct {
	name string
	typ  string // Postgres type
}

// A table is where logs of one kind end up.
type table struct {
	name    string
	key     string // unique column that holds Log.Key
	rule    rule
	owner   string         // key and column that takes Log.Owner when the log has no such key, "" none
	columns []column       // by name
	at      map[string]int // dimension or metric key → index in columns
}

// newTable fills t with columns, which are by dimension or metric key: the
// mapping tables of contract/flows.md section 8.
func newTable(t table, columns ...map[string]column) *table {
	t.at = map[string]int{}
	for _, m := range columns {
		t.columns = slices.AppendSeq(t.columns, maps.Values(m))
	}
	slices.SortFunc(t.columns, func(a, b column) int { return cmp.Compare(a.name, b.name) })
	t.columns = slices.Compact(t.columns)
	for _, m := range columns {
		for key, c := range m {
			t.at[key] = slices.Index(t.columns, c)
		}
	}
	return &t
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

// tables is the mapping, by platform and kind.
var tables = map[social.Platform]map[social.Kind]*table{
	social.Instagram: {
		social.Profile: newTable(table{name: "instagram_account", key: "profile_id", rule: ruleS},
			same(text, "category_id", "category", "fbid", "full_name", "profile_type", "handle", "profile_pic_url"),
			same(bigint, "followers", "following", "media_count"),
			same(boolean, "is_business_or_creator", "is_private", "is_verified"),
			map[string]column{"bio": {"biography", text}},
		),
		social.Post: newTable(table{name: "instagram_post", key: "shortcode", rule: ruleS, owner: "profile_id"},
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
	social.YouTube: {
		social.Profile: newTable(table{name: "youtube_account", key: "channel_id", rule: ruleO},
			same(text, "title", "description", "custom_url", "country", "uploads_playlist_id", "thumbnails", "thumbnail", "external_urls"),
			same(boolean, "is_verified"),
			map[string]column{
				"taken_at_timestamp": {"published_at", stamp}, "video_count": {"uploads", bigint},
				"view_count": {"views", bigint}, "subscriber_count": {"subscribers", bigint},
				"hidden_subscriber_count": {"is_subscriber_count_hidden", boolean},
			},
		),
	},
}

// value reads v for c: a pointer to what c.typ says. ok is false when there is
// nothing to write.
func (t *table) value(c column, v []byte) (out any, ok bool) {
	// Nearly all values are integers and texts without escapes: those need no
	// copy to be parsed.
	switch c.typ {
	case bigint:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return &n, true
		}
	case text:
		if len(v) > 2 && v[0] == '"' && bytes.IndexByte(v, '\\') < 0 && c.name != "thumbnails" {
			s := string(v[1 : len(v)-1])
			return &s, true
		}
	}
	r := gjson.ParseBytes(v)
	if r.Type == gjson.Null {
		return nil, false
	}
	switch c.typ {
	case bigint:
		n := int64(r.Num)
		switch r.Type {
		case gjson.Number:
			return &n, true
		case gjson.String:
			text := gjson.Parse(r.Str)
			n = text.Int()
			return &n, text.Type == gjson.Number
		}
		return nil, false
	case float:
		return &r.Num, r.Type == gjson.Number
	case boolean:
		truth := r.Type == gjson.True || r.Type == gjson.Number && r.Num != 0
		return &truth, truth || r.Type == gjson.False || r.Type == gjson.Number
	case stamp:
		at, ok := moment(r)
		return &at, ok
	}
	s := r.String()
	if s == "" && t.rule == ruleS || c.name == "thumbnails" && s == "null" {
		return nil, false
	}
	return &s, true
}

// moment accepts epoch seconds (number or text) and RFC 3339 text.
func moment(r gjson.Result) (time.Time, bool) {
	if r.Type == gjson.String {
		if t, err := time.Parse(time.RFC3339, r.Str); err == nil {
			return t.UTC(), true
		}
		r = gjson.Parse(r.Str)
	}
	if r.Type != gjson.Number || r.Num < 1 || r.Num > 253402300799 {
		return time.Time{}, false
	}
	return time.Unix(int64(r.Num), 0).UTC(), true
}
