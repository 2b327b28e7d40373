package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Real answers.
//
// A folder of fixtures holds <provider>/<what>/<name>.json, see SOURCES.md in
// it. A file is known by its shape, and only below folders that are named as
// in table readers: the same shapes also come as lists of other people's
// posts, which say nothing about a profile. What is served for what:
//
//	business_discovery with username and ig_id  → Graph profile, as it is
//	{user:{pk,username}} or that user alone     → arraybobo info, by handle and id
//	{data:{user:{edge_owner_to_timeline_media}}} → arraybobo posts of the owner
//	{items:[{media}]}, also below "response"    → arraybobo reels of whoever has most of them
//	shortcode_media below data or graphql       → arraybobo post, the object itself
//	{items:[post]} or {media_or_ad:post}        → arraybobo post, put into the web layout
//	each post on a page of posts or reels       → arraybobo post, the same way
//	channels.list, or an array of its items     → YouTube channel, item by item
//
// "As it is" is but for white space. A page of posts or reels is the only one
// that its profile has: when its cursor is used, an empty last page follows.
// Of several files about one thing the one that says most wins: a channel
// with more of the parts that are read, then the larger, then the first by name.

// An Entity is something that has a real answer.
type Entity struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`         // profile, posts, reels, post, channel
	Key    string `json:"key"`          // handle, profile id, shortcode or channel id, as asked for
	ID     string `json:"id,omitempty"` // of a profile
	File   string `json:"file"`         // below the folder
	Note   string `json:"note,omitempty"`
}

// Fixtures says what is real.
type Fixtures struct {
	Dir        string   `json:"dir"`
	Handles    []string `json:"handles"`    // that have a profile, at any source
	IDs        []string `json:"ids"`        // that have a profile at arraybobo
	Shortcodes []string `json:"shortcodes"` // that have a post
	Channels   []string `json:"channels"`   // that have all parts that are read
	Posts      []string `json:"posts"`      // profile ids that have a page of posts
	Reels      []string `json:"reels"`      // profile ids that have a page of reels
	Entities   []Entity `json:"entities"`
	Unused     []Unused `json:"unused"` // files of a known folder that could not be served
}

// Unused is a file that is not served.
type Unused struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// Fixtures returns what real answers there are.
func (s *Sandbox) Fixtures() Fixtures { return s.real.listing }

// fixtures are the bodies by what they are asked for. They are not changed
// after loading.
type fixtures struct {
	graph    map[string][]byte // by handle
	info     map[string][]byte // by handle
	infoByID map[string][]byte
	posts    map[string][]byte // by profile id
	postsEnd map[string][]byte
	reels    map[string][]byte
	media    map[string][]byte // by shortcode
	channels map[string][]byte

	handles map[string]bool // of all real accounts, also those without a profile
	ids     map[string]bool
	best    map[string]rank // by source, kind and key
	listing Fixtures
}

// rank says which of two files about one thing wins.
type rank struct {
	says   int // parts, or 1 for an answer of its own and 0 for one out of a page
	size   int
	entity Entity
}

func (f *fixtures) known(handle string) bool { return f.handles[handle] }
func (f *fixtures) knownID(id string) bool   { return f.ids[id] }

// A reader takes a file; false says that it is of no use, and why.
type reader func(f *fixtures, file string, body []byte) (why string, ok bool)

// readers is by the name of the folder that a file is in.
var readers = map[string]reader{
	"business_discovery": (*fixtures).readGraph,
	"user_info":          (*fixtures).readInfo,
	"web_profile_info":   (*fixtures).readInfo,
	"user_medias":        (*fixtures).readPosts,
	"clips_user":         (*fixtures).readReels,
	"media_info":         (*fixtures).readMedia,
	"a1_media":           (*fixtures).readMedia,
	"channels":           (*fixtures).readChannels,
}

// skipped are folders of providers with other shapes under the same names.
var skipped = map[string]bool{"rocketapi": true, "errors": true}

const maxFixture = 16 << 20

func loadFixtures(dir string) (*fixtures, error) {
	f := &fixtures{
		graph: map[string][]byte{}, info: map[string][]byte{}, infoByID: map[string][]byte{},
		posts: map[string][]byte{}, postsEnd: map[string][]byte{}, reels: map[string][]byte{},
		media: map[string][]byte{}, channels: map[string][]byte{},
		handles: map[string]bool{}, ids: map[string]bool{}, best: map[string]rank{},
	}
	f.listing.Dir = dir
	f.listing.Unused = []Unused{}
	if dir != "" {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		root := os.DirFS(dir)
		err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				f.unused(name, err.Error())
				return nil // one bad folder is no reason not to serve the others
			}
			parts := strings.Split(name, "/")
			if d.IsDir() || path.Ext(name) != ".json" || len(parts) < 2 || skipped[parts[0]] {
				return nil
			}
			read := readers[parts[len(parts)-2]]
			if read == nil {
				return nil
			}
			body, err := fs.ReadFile(root, name)
			switch {
			case err != nil:
				f.unused(name, err.Error())
				return nil
			case len(body) > maxFixture:
				f.unused(name, "it is too large")
				return nil
			}
			var b bytes.Buffer
			if err := json.Compact(&b, body); err != nil {
				f.unused(name, "it is no JSON: "+err.Error())
				return nil
			}
			if why, ok := read(f, name, b.Bytes()); !ok {
				f.unused(name, why)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	f.list()
	return f, nil
}

func (f *fixtures) unused(file, why string) {
	f.listing.Unused = append(f.listing.Unused, Unused{file, why})
}

// list makes the listing.
func (f *fixtures) list() {
	handles := maps.Clone(f.info)
	maps.Copy(handles, f.graph)
	l := &f.listing
	for _, v := range []struct {
		to   *[]string
		from map[string][]byte
	}{
		{&l.Handles, handles}, {&l.IDs, f.infoByID}, {&l.Shortcodes, f.media},
		{&l.Channels, f.channels}, {&l.Posts, f.posts}, {&l.Reels, f.reels},
	} {
		*v.to = slices.AppendSeq([]string{}, maps.Keys(v.from))
		slices.Sort(*v.to)
	}
	l.Entities = []Entity{}
	for _, r := range f.best {
		l.Entities = append(l.Entities, r.entity)
	}
	slices.SortFunc(l.Entities, func(a, b Entity) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	l.Channels = slices.DeleteFunc(l.Channels, func(id string) bool { return f.best[rankKey(YTAPI, "channel", id)].says < 3 })
}

func rankKey(source, kind, key string) string { return source + " " + kind + " " + key }

// wins records a file about e when it says more than those before it. Files
// come by name, so that the first stays among equals.
func (f *fixtures) wins(e Entity, says, size int) bool {
	k := rankKey(e.Source, e.Kind, e.Key)
	if old, ok := f.best[k]; ok && (old.says > says || old.says == says && old.size >= size) {
		return false
	}
	f.best[k] = rank{says, size, e}
	return true
}

// account records that an account is real.
func (f *fixtures) account(u wireUser) {
	if h := strings.ToLower(u.Username); h != "" {
		f.handles[h] = true
	}
	for _, id := range []string{u.PK.String(), u.ID.String(), u.IGID.String()} {
		if id != "" {
			f.ids[id] = true
		}
	}
}

// digits is a number, or text, or nothing.
type digits string

func (d *digits) UnmarshalJSON(b []byte) error {
	if s := strings.Trim(string(b), `"`); s != "null" {
		*d = digits(s)
	}
	return nil
}

func (d digits) String() string { return string(d) }

type wireUser struct {
	PK       digits `json:"pk"`
	ID       digits `json:"id"`
	IGID     digits `json:"ig_id"`
	Username string `json:"username"`
}

func (f *fixtures) readGraph(file string, body []byte) (string, bool) {
	var v struct {
		User wireUser `json:"business_discovery"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	u := v.User
	u.ID = "" // the Graph node, which is not what posts are asked by
	f.account(u)
	if u.Username == "" || u.IGID == "" {
		return "no business_discovery with username and ig_id: nothing to be asked for by", false
	}
	h := strings.ToLower(u.Username)
	if f.wins(Entity{GraphAPI, "profile", h, u.IGID.String(), file, ""}, 1, len(body)) {
		f.graph[h] = body
	}
	return "", true
}

func (f *fixtures) readInfo(file string, body []byte) (string, bool) {
	var v struct {
		wireUser
		User *wireUser `json:"user"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	note := ""
	u := v.wireUser
	switch {
	case v.User != nil:
		u = *v.User
	case u.PK != "":
		body = append(append([]byte(`{"user":`), body...), `,"status":"ok"}`...)
		note = "the file holds the user alone"
	}
	if u.PK == "" || u.Username == "" {
		return "no user with pk and username", false
	}
	f.account(u)
	h := strings.ToLower(u.Username)
	if f.wins(Entity{ArrayBobo, "profile", h, u.PK.String(), file, note}, 1, len(body)) {
		f.info[h], f.infoByID[u.PK.String()] = body, body
	}
	return "", true
}

func (f *fixtures) readPosts(file string, body []byte) (string, bool) {
	type timeline struct {
		User struct {
			Media struct {
				Count json.RawMessage `json:"count"`
				Edges []struct {
					Node json.RawMessage `json:"node"`
				} `json:"edges"`
			} `json:"edge_owner_to_timeline_media"`
		} `json:"user"`
	}
	var v struct {
		Data timeline `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	m := v.Data.User.Media
	id := ""
	for _, e := range m.Edges {
		var n webNode
		if json.Unmarshal(e.Node, &n) != nil || n.Owner.ID == "" {
			continue
		}
		f.account(n.Owner)
		if id == "" {
			id = n.Owner.ID.String()
		}
		f.addWeb(file, e.Node, n, 0)
	}
	if id == "" {
		return "no edge_owner_to_timeline_media with posts that name their owner", false
	}
	if f.wins(Entity{ArrayBobo, "posts", id, id, file, ""}, 1, len(body)) {
		count := "0"
		if len(m.Count) > 0 {
			count = string(m.Count)
		}
		f.posts[id], f.postsEnd[id] = body, appendPostsEnd(nil, count)
	}
	return "", true
}

func (f *fixtures) readReels(file string, body []byte) (string, bool) {
	type page struct {
		Items []struct {
			Media json.RawMessage `json:"media"`
		} `json:"items"`
	}
	var v struct {
		page
		Response json.RawMessage `json:"response"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	note := ""
	if v.Response != nil {
		body, note = v.Response, "the object below response"
		if err := json.Unmarshal(body, &v.page); err != nil {
			return err.Error(), false
		}
	}
	n := make(map[string]int)
	best := ""
	for _, it := range v.Items {
		var m apiMedia
		if json.Unmarshal(it.Media, &m) != nil || m.User.PK == "" {
			continue
		}
		f.account(m.User)
		id := m.User.PK.String()
		if n[id]++; best == "" || n[id] > n[best] {
			best = id
		}
		f.addAPI(file, m, 0)
	}
	if best == "" {
		return "no items with a media and its user", false
	}
	if f.wins(Entity{ArrayBobo, "reels", best, best, file, note}, 1, len(body)) {
		f.reels[best] = body
	}
	return "", true
}

func (f *fixtures) readMedia(file string, body []byte) (string, bool) {
	type media struct {
		Media json.RawMessage `json:"shortcode_media"`
	}
	var v struct {
		Data    *media     `json:"data"`
		GraphQL *media     `json:"graphql"`
		Items   []apiMedia `json:"items"`
		Ad      *apiMedia  `json:"media_or_ad"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	ok := false
	for _, m := range []*media{v.Data, v.GraphQL} {
		var n webNode
		if m != nil && json.Unmarshal(m.Media, &n) == nil && n.Shortcode != "" {
			f.account(n.Owner)
			f.addWeb(file, m.Media, n, 1)
			ok = true
		}
	}
	if v.Ad != nil {
		v.Items = append(v.Items, *v.Ad)
	}
	for _, m := range v.Items {
		if m.Code != "" {
			f.account(m.User)
			f.addAPI(file, m, 1)
			ok = true
		}
	}
	return "no shortcode_media, items or media_or_ad with a code", ok
}

// webNode is what has to be known of a post in the web layout.
type webNode struct {
	Shortcode string   `json:"shortcode"`
	Owner     wireUser `json:"owner"`
}

func (f *fixtures) addWeb(file string, body []byte, n webNode, says int) {
	note := ""
	if says == 0 {
		note = "out of a page of posts"
	}
	if n.Shortcode != "" && f.wins(Entity{ArrayBobo, "post", n.Shortcode, "", file, note}, says, len(body)) {
		f.media[n.Shortcode] = body
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
	body := m.web()
	if m.Code != "" && f.wins(Entity{ArrayBobo, "post", m.Code, "", file, note}, says, len(body)) {
		f.media[m.Code] = body
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

func (f *fixtures) readChannels(file string, body []byte) (string, bool) {
	var items []json.RawMessage
	if body[0] != '[' {
		var v struct {
			Items []json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return err.Error(), false
		}
		items = v.Items
	} else if err := json.Unmarshal(body, &items); err != nil {
		return err.Error(), false
	}
	ok := false
	for _, raw := range items {
		var c struct {
			ID         string          `json:"id"`
			Snippet    json.RawMessage `json:"snippet"`
			Details    json.RawMessage `json:"contentDetails"`
			Statistics json.RawMessage `json:"statistics"`
		}
		if json.Unmarshal(raw, &c) != nil || c.ID == "" {
			continue
		}
		ok = true
		says, note := 0, ""
		for _, p := range []struct {
			name string
			raw  json.RawMessage
		}{{"snippet", c.Snippet}, {"contentDetails", c.Details}, {"statistics", c.Statistics}} {
			if p.raw != nil {
				says++
			} else if note == "" {
				note = "without " + p.name
			} else {
				note += ", " + p.name
			}
		}
		if f.wins(Entity{YTAPI, "channel", c.ID, "", file, note}, says, len(raw)) {
			f.channels[c.ID] = raw
		}
	}
	return "no items with an id", ok
}
