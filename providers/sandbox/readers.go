package sandbox

import (
	"encoding/json"
	"strings"
)

// A reader takes a file; false says that it is of no use, and why.
type reader func(f *fixtures, file string, body []byte) (why string, ok bool)

// readers is by the name of the folder that a file is in, or of that below its
// provider when other providers mean something else by it.
var readers = map[string]reader{
	"business_discovery":          (*fixtures).readGraph,
	"media_insights":              (*fixtures).readInsights,
	"story_insights":              (*fixtures).readInsights,
	"user_info":                   (*fixtures).readInfo,
	"web_profile_info":            (*fixtures).readInfo,
	"user":                        (*fixtures).readWebUser,
	"a1_user":                     (*fixtures).readWebUser,
	"user_by_username":            (*fixtures).readLamaUser,
	"user_medias":                 (*fixtures).readPosts,
	"user_medias_chunk":           (*fixtures).readLamaPosts,
	"clips_user":                  (*fixtures).readReels,
	"media_info":                  (*fixtures).readMedia,
	"a1_media":                    (*fixtures).readMedia,
	"rocketapi/media_info":        (*fixtures).readRocket,
	"user_stories":                (*fixtures).readLamaStories,
	"ig-private-v1/stories":       (*fixtures).readStories,
	"ig-web-graphql/media_likers": (*fixtures).readLikers,
	"hashtag_medias":              (*fixtures).readHashtag,
	"channels":                    (*fixtures).readChannels,
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
	f.put(Entity{GraphAPI, "profile", strings.ToLower(u.Username), u.IGID.String(), file, ""}, 1, body, graphProfiles)
	return "", true
}

// wireInsights is the head of an answer of insights: ids are
// <media>/insights/<name>/<period>.
type wireInsights struct {
	Data []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"data"`
}

func (v wireInsights) of() string {
	if len(v.Data) == 0 {
		return ""
	}
	id, _, _ := strings.Cut(v.Data[0].ID, "/")
	if _, ok := parseID(id); !ok {
		return ""
	}
	return id
}

func (f *fixtures) readInsights(file string, body []byte) (string, bool) {
	var v wireInsights
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	id := v.of()
	if id == "" {
		return "no data with an id that says what it is of", false
	}
	if v.Data[0].Name == "navigation" {
		f.put(Entity{GraphAPI, "navigation", id, "", file, ""}, 1, body, graphNavigation)
	} else {
		f.put(Entity{GraphAPI, "insights", id, "", file, ""}, 1, body, graphInsights)
	}
	return "", true
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
		f.put(Entity{YTAPI, "channel", c.ID, "", file, note}, says, raw, ytChannels)
	}
	return "no items with an id", ok
}
