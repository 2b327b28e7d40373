package sandbox

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// The readers of answers about posts.

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
	id, name := "", ""
	for _, e := range m.Edges {
		var n webNode
		if json.Unmarshal(e.Node, &n) != nil || n.Owner.ID == "" {
			continue
		}
		f.account(n.Owner)
		if id == "" {
			id, name = n.Owner.ID.String(), n.Owner.Username
		}
		f.addWeb(file, e.Node, n, 0)
	}
	if id == "" {
		return "no edge_owner_to_timeline_media with posts that name their owner", false
	}
	count := "0"
	if len(m.Count) > 0 {
		count = string(m.Count)
	}
	if f.put(Entity{ArrayBobo, "posts", id, id, file, ""}, 1, body, webPosts) {
		f.of[webPostsEnd][id] = appendPostsEnd(nil, count)
	}
	// Neotank says whose they are, and leaves out what is around them.
	owner := append(appendStr(append(appendStr([]byte(`{"owner":{"id":`), id), `,"username":`...), name, '}'), ',')
	rest := between(body, `"edge_owner_to_timeline_media":`)
	if len(rest) > 1 && f.put(Entity{NeoTank, "posts", id, id, file, "the object below edge_owner_to_timeline_media, with its owner"}, 1, slices.Concat(owner, rest[1:]), webTimelines) {
		f.of[webTimelinesEnd][id] = append(append(slices.Clone(owner), `"count":`...), count+`,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}`...)
	}
	return "", true
}

// between is the value of the first member of that name, with its colon.
func between(body []byte, member string) []byte {
	_, rest, ok := bytes.Cut(body, []byte(member))
	if !ok {
		return nil
	}
	return rest[:valueLen(rest)]
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
	f.put(Entity{ArrayBobo, "reels", best, best, file, note}, 1, body, appReels)
	f.put(Entity{RocketAPI, "reels", best, best, file, "put into the envelope"}, 1, body, appReels)
	return "", true
}

func (f *fixtures) readMedia(file string, body []byte) (string, bool) {
	type media struct {
		Media json.RawMessage `json:"shortcode_media"`
	}
	var v struct {
		Data    *media            `json:"data"`
		GraphQL *media            `json:"graphql"`
		Items   []json.RawMessage `json:"items"`
		Ad      json.RawMessage   `json:"media_or_ad"`
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
			if m == v.GraphQL {
				f.put(Entity{Lama, "post", n.Shortcode, "", file, ""}, 1, body, graphqlPosts)
			}
			if n.Comments != nil && m == v.Data {
				f.put(Entity{JoTucker, "comments", n.Shortcode, "", file, ""}, 1, body, webComments)
			}
			ok = true
		}
	}
	if v.Ad != nil {
		v.Items = append(v.Items, v.Ad)
	}
	for _, raw := range v.Items {
		ok = f.addItem(file, raw) || ok
	}
	return "no shortcode_media, items or media_or_ad with a code", ok
}

// addItem serves a post in the layout of the app at all sources.
func (f *fixtures) addItem(file string, raw []byte) bool {
	var m apiMedia
	if json.Unmarshal(raw, &m) != nil || m.Code == "" {
		return false
	}
	f.account(m.User)
	f.addAPI(file, m, 1)
	body := slices.Concat([]byte(`{"items":[`), raw, []byte(`],"num_results":1,"more_available":false,"status":"ok"}`))
	const note = "the post alone, or put among items"
	f.put(Entity{JoTucker, "post", m.Code, "", file, note}, 1, body, appPost)
	f.put(Entity{Lama, "post", m.Code, "", file, note}, 1, body, graphqlPosts)
	f.put(Entity{RocketAPI, "post", m.Code, "", file, note + " in the envelope"}, 1, slices.Concat([]byte(envelope), body, []byte(`}}`)), rocketPosts)
	return true
}

// readRocket reads one post in the envelope of rocketapi.
func (f *fixtures) readRocket(file string, body []byte) (string, bool) {
	var v struct {
		Response struct {
			Body struct {
				Items []json.RawMessage `json:"items"`
			} `json:"body"`
		} `json:"response"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	items := v.Response.Body.Items
	var m apiMedia
	if len(items) != 1 || !f.addItem(file, items[0]) || json.Unmarshal(items[0], &m) != nil {
		return "no response with one post", false
	}
	f.put(Entity{RocketAPI, "post", m.Code, "", file, ""}, 2, body, rocketPosts)
	return "", true
}

// readLamaPosts reads [[post…], cursor].
func (f *fixtures) readLamaPosts(file string, body []byte) (string, bool) {
	var chunk []json.RawMessage
	var items []struct {
		User wireUser `json:"user"`
	}
	if json.Unmarshal(body, &chunk) != nil || len(chunk) != 2 || json.Unmarshal(chunk[0], &items) != nil || len(items) == 0 || items[0].User.PK == "" {
		return "no two elements, the first a list of posts with a user", false
	}
	f.account(items[0].User)
	id := items[0].User.PK.String()
	if f.put(Entity{Lama, "posts", id, id, file, ""}, 1, body, lamaMedias) {
		f.of[lamaMediasEnd][id] = []byte(`[[],""]`)
	}
	return "", true
}

func (f *fixtures) readLikers(file string, body []byte) (string, bool) {
	var v struct {
		Data struct {
			Media webNode `json:"shortcode_media"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	code := v.Data.Media.Shortcode
	if code == "" {
		return "no shortcode_media with a shortcode", false
	}
	f.put(Entity{JoTucker, "likes", code, "", file, ""}, 1, body, webLikers)
	return "", true
}

func (f *fixtures) readHashtag(file string, body []byte) (string, bool) {
	var v struct {
		Data struct {
			Hashtag struct {
				Name string `json:"name"`
			} `json:"hashtag"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	name := strings.ToLower(v.Data.Hashtag.Name)
	if name == "" {
		return "no hashtag with a name", false
	}
	f.put(Entity{JoTucker, "hashtag", name, "", file, ""}, 1, body, webHashtags)
	return "", true
}
