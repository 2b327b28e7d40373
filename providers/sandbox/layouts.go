package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
)

// webNode is what has to be known of a post in the web layout.
type webNode struct {
	Shortcode string          `json:"shortcode"`
	Owner     wireUser        `json:"owner"`
	Comments  json.RawMessage `json:"edge_media_to_parent_comment"`
}

func (f *fixtures) addWeb(file string, body []byte, n webNode, says int) {
	note := ""
	if says == 0 {
		note = "out of a page of posts"
	}
	if n.Shortcode != "" {
		f.put(Entity{ArrayBobo, "post", n.Shortcode, "", file, note}, says, body, webPost)
	}
}

// apiMedia is what is kept of a post in the layout of the private API when it
// is put into the web layout, which is how arraybobo answers for one post.
type apiMedia struct {
	PK        digits          `json:"pk"`
	Code      string          `json:"code"`
	Type      int             `json:"media_type"`
	TakenAt   json.RawMessage `json:"taken_at"`
	User      wireUser        `json:"user"`
	Comments  json.RawMessage `json:"comment_count"`
	Likes     json.RawMessage `json:"like_count"`
	Views     json.RawMessage `json:"view_count"`
	Plays     json.RawMessage `json:"play_count"`
	Duration  json.RawMessage `json:"video_duration"`
	Location  json.RawMessage `json:"location"`
	Videos    []apiFile       `json:"video_versions"`
	Images    apiImages       `json:"image_versions2"`
	Carousels []struct {
		Images apiImages `json:"image_versions2"`
	} `json:"carousel_media"`
	Caption *struct {
		Text string `json:"text"`
	} `json:"caption"`
	Tags     apiTags `json:"usertags"`
	Sponsors []struct {
		Sponsor wireUser `json:"sponsor"`
	} `json:"sponsor_tags"`
}

// apiTags is an object, or an empty array when nobody is tagged.
type apiTags struct {
	In []struct {
		User     wireUser  `json:"user"`
		Position []float64 `json:"position"`
	} `json:"in"`
}

func (t *apiTags) UnmarshalJSON(b []byte) error {
	type object apiTags
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, (*object)(t))
}

type apiImages struct {
	Candidates []apiFile `json:"candidates"`
}

type apiFile struct {
	URL    string `json:"url"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

func (f *fixtures) addAPI(file string, m apiMedia, says int) {
	note := "put from the layout of the private API into that of the web"
	if says == 0 {
		note = "out of a page of reels; " + note
	}
	if m.Code != "" {
		f.put(Entity{ArrayBobo, "post", m.Code, "", file, note}, says, m.web(), webPost)
	}
}

// web is m in the web layout, with the values that it has.
func (m apiMedia) web() []byte {
	type edges struct {
		Edges []any `json:"edges"`
	}
	type count struct {
		Count json.RawMessage `json:"count"`
	}
	type user struct {
		ID       string `json:"id"`
		Username string `json:"username"`
	}
	type resource struct {
		Src    string `json:"src"`
		Width  int    `json:"config_width"`
		Height int    `json:"config_height"`
	}
	v := struct {
		Type      string          `json:"__typename,omitempty"`
		ID        string          `json:"id"`
		Shortcode string          `json:"shortcode"`
		IsVideo   bool            `json:"is_video"`
		VideoURL  string          `json:"video_url,omitempty"`
		Views     json.RawMessage `json:"video_view_count,omitempty"`
		Plays     json.RawMessage `json:"video_play_count,omitempty"`
		Duration  json.RawMessage `json:"video_duration,omitempty"`
		Display   []resource      `json:"display_resources"`
		Owner     user            `json:"owner"`
		TakenAt   json.RawMessage `json:"taken_at_timestamp,omitempty"`
		Comments  *count          `json:"edge_media_to_comment,omitempty"`
		Likes     *count          `json:"edge_media_preview_like,omitempty"`
		Caption   edges           `json:"edge_media_to_caption"`
		Tagged    edges           `json:"edge_media_to_tagged_user"`
		Sponsors  edges           `json:"edge_media_to_sponsor_user"`
		Location  json.RawMessage `json:"location"`
	}{
		Type: map[int]string{1: "GraphImage", 2: "GraphVideo", 8: "GraphSidecar"}[m.Type],
		ID:   m.PK.String(), Shortcode: m.Code, IsVideo: m.Type == 2,
		Views: m.Views, Plays: m.Plays, Duration: m.Duration,
		Display: []resource{}, Owner: user{m.User.PK.String(), m.User.Username},
		TakenAt: m.TakenAt, Location: m.Location,
		Caption: edges{[]any{}}, Tagged: edges{[]any{}}, Sponsors: edges{[]any{}},
	}
	if m.Comments != nil {
		v.Comments = &count{m.Comments}
	}
	if m.Likes != nil {
		v.Likes = &count{m.Likes}
	}
	if len(m.Videos) > 0 {
		v.VideoURL = m.Videos[0].URL
	}
	images := m.Images.Candidates
	if len(images) == 0 && len(m.Carousels) > 0 {
		images = m.Carousels[0].Images.Candidates
	}
	images = slices.Clone(images)
	slices.SortStableFunc(images, func(a, b apiFile) int { return cmp.Compare(a.Width, b.Width) }) // the web begins with the smallest
	for _, i := range images {
		v.Display = append(v.Display, resource{i.URL, i.Width, i.Height})
	}
	type node struct {
		Node any `json:"node"`
	}
	if m.Caption != nil {
		v.Caption.Edges = []any{node{map[string]string{"text": m.Caption.Text}}}
	}
	for _, t := range m.Tags.In {
		n := map[string]any{"user": user{t.User.PK.String(), t.User.Username}}
		if len(t.Position) == 2 {
			n["x"], n["y"] = t.Position[0], t.Position[1]
		}
		v.Tagged.Edges = append(v.Tagged.Edges, node{n})
	}
	for _, t := range m.Sponsors {
		v.Sponsors.Edges = append(v.Sponsors.Edges, node{map[string]any{"sponsor": user{t.Sponsor.PK.String(), t.Sponsor.Username}}})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("sandbox: a post of plain values cannot be encoded: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
