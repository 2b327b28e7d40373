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
	name  string
	typ   string // Postgres type
	first bool   // the first value stays (rule 1 of the contract); otherwise the last wins
}

// array is the type in which values of the column travel to the server.
func (c column) array() string {
	if c.typ == jsonb || c.typ == texts {
		return text
	}
	return c.typ
}

// from is the expression for the column of row u.
func (c column) from() string {
	switch c.typ {
	case jsonb:
		return "u." + c.name + "::jsonb"
	case texts:
		return "(SELECT array_agg(e::varchar) FROM jsonb_array_elements_text(u." + c.name + "::jsonb) AS e)"
	}
	return "u." + c.name
}

// A table is where logs of one kind end up.
type table struct {
	name    string
	key     string // unique column that holds Log.Key
	rule    rule
	owner   string         // key and column that takes Log.Owner when the log has dimensions but no such key, "" none
	handle  string         // column that takes Log.Handle, "" none
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
	jsonb   = "jsonb"
	texts   = "varchar[]"
)

func same(typ string, names ...string) map[string]column {
	m := map[string]column{}
	for _, n := range names {
		m[n] = column{name: n, typ: typ}
	}
	return m
}

// renamed is the columns of one type whose keys have another name.
func renamed(typ string, names map[string]string) map[string]column {
	m := map[string]column{}
	for key, n := range names {
		m[key] = column{name: n, typ: typ}
	}
	return m
}

func kept(typ string, names ...string) map[string]column {
	m := same(typ, names...)
	for n, c := range m {
		c.first = true
		m[n] = c
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
			renamed(text, map[string]string{"bio": "biography"}),
		),
		social.Post: newTable(table{name: "instagram_post", key: "shortcode", rule: ruleS, owner: "profile_id"},
			same(text, "caption", "display_url", "handle", "post_id", "post_type", "profile_id", "content_type", "keywords"),
			same(bigint, "comments", "impressions", "interactions", "likes", "reach", "saved", "shares",
				"automatic_forward", "swipe_back", "swipe_forward", "swipe_up", "swipe_down", "replies", "navigation",
				"profile_activity", "profile_visits", "follows", "video_views"),
			same(float, "engagement"),
			renamed(bigint, map[string]string{
				"play_count": "plays", "view_count": "views",
				"tap_forward": "taps_forward", "tap_back": "taps_back", "tap_exit": "exits",
			}),
			renamed(text, map[string]string{"thumbnail_src": "thumbnail_url"}),
			renamed(stamp, map[string]string{"taken_at_timestamp": "publish_time"}),
			same(texts, "story_links", "story_hashtags"),
			kept(bigint, "profile_follower"),
			kept(float, "profile_er", "profile_static_er", "profile_reels_er"),
		),
		social.Insights: newTable(table{name: "instagram_profile_insights", key: "profile_id", rule: ruleS, handle: "handle"},
			same(text, "handle"),
			same(jsonb, "audience_country", "audience_city", "audience_gender_age", "audience_locale",
				"reached_audience_country", "reached_audience_city", "reached_audience_gender_age",
				"engaged_audience_country", "engaged_audience_city", "engaged_audience_gender_age"),
		),
	},
	social.YouTube: {
		social.Profile: newTable(table{name: "youtube_account", key: "channel_id", rule: ruleO},
			same(text, "title", "description", "custom_url", "country", "uploads_playlist_id", "thumbnails", "thumbnail", "external_urls"),
			same(boolean, "is_verified"),
			renamed(stamp, map[string]string{"taken_at_timestamp": "published_at"}),
			renamed(bigint, map[string]string{"video_count": "uploads", "view_count": "views", "subscriber_count": "subscribers"}),
			renamed(boolean, map[string]string{"hidden_subscriber_count": "is_subscriber_count_hidden"}),
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
	case jsonb:
		s := r.Raw
		return &s, r.IsObject() || r.IsArray()
	case texts:
		s := r.Raw
		return &s, r.IsArray() && s != "[]" // an empty list says nothing
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
