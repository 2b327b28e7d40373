package sandbox

import (
	"encoding/json"
	"strings"
)

// The readers of answers about accounts.

func (f *fixtures) readInfo(file string, body []byte) (string, bool) {
	var v struct {
		wireUser
		User json.RawMessage `json:"user"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	note, flat := "", body
	u := v.wireUser
	switch {
	case v.User != nil:
		flat = v.User
		if err := json.Unmarshal(v.User, &u); err != nil {
			return err.Error(), false
		}
	case u.PK != "":
		body = append(append([]byte(`{"user":`), body...), `,"status":"ok"}`...)
		note = "the file holds the user alone"
	}
	if u.PK == "" || u.Username == "" {
		return "no user with pk and username", false
	}
	f.account(u)
	h, id := strings.ToLower(u.Username), u.PK.String()
	f.put(Entity{ArrayBobo, "profile", h, id, file, note}, 1, body, appUsers, appUsersByID)
	f.put(Entity{JoTucker, "profile", h, id, file, note}, 1, body, appUsers, appUsersByID)
	f.put(Entity{BestSolutions, "profile", h, id, file, "the user alone"}, 0, flat, flatUsers, flatUsersByID)
	return "", true
}

// readLamaUser reads a user as lama has it, which bestsolutions passes on too.
func (f *fixtures) readLamaUser(file string, body []byte) (string, bool) {
	var u wireUser
	if err := json.Unmarshal(body, &u); err != nil {
		return err.Error(), false
	}
	if u.PK == "" || u.Username == "" {
		return "no pk and username", false
	}
	f.account(u)
	h, id := strings.ToLower(u.Username), u.PK.String()
	f.put(Entity{Lama, "profile by id", id, id, file, ""}, 1, body, lamaUsersByID)
	f.put(Entity{BestSolutions, "profile", h, id, file, ""}, 1, body, flatUsers, flatUsersByID)
	return "", true
}

// readWebUser reads a user of the web, below data or graphql.
func (f *fixtures) readWebUser(file string, body []byte) (string, bool) {
	type holder struct {
		User json.RawMessage `json:"user"`
	}
	var v struct {
		Data    *holder `json:"data"`
		GraphQL *holder `json:"graphql"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	for _, in := range []*holder{v.Data, v.GraphQL} {
		var u struct {
			wireUser
			Followers json.RawMessage `json:"edge_followed_by"`
		}
		if in == nil || json.Unmarshal(in.User, &u) != nil || u.ID == "" || u.Username == "" || u.Followers == nil {
			continue
		}
		f.account(u.wireUser)
		h, id := strings.ToLower(u.Username), u.ID.String()
		f.put(Entity{NeoTank, "profile", h, id, file, "the user alone"}, 1, in.User, webUsers)
		if in == v.GraphQL {
			f.put(Entity{Lama, "profile", h, id, file, ""}, 1, body, graphqlUsers)
		}
		return "", true
	}
	return "no user with id, username and edge_followed_by", false
}

// readStories reads the reel of an account as the app has it.
func (f *fixtures) readStories(file string, body []byte) (string, bool) {
	var v struct {
		Reel json.RawMessage `json:"reel"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error(), false
	}
	var r struct {
		User  wireUser          `json:"user"`
		Items []json.RawMessage `json:"items"`
	}
	if json.Unmarshal(v.Reel, &r) != nil || r.User.PK == "" || len(r.Items) == 0 {
		return "no reel with a user and items", false
	}
	f.account(r.User)
	id := r.User.PK.String()
	body = append(append(append(appendStr([]byte(`{"reels":{`), id), ':'), v.Reel...), `},"reels_media":[],"status":"ok"}`...)
	const note = "the reel put among reels"
	f.put(Entity{ArrayBobo, "stories", id, id, file, note}, 1, body, appStories)
	f.put(Entity{RocketAPI, "stories", id, id, file, note + " in the envelope"}, 1, body, appStories)
	return "", true
}

func (f *fixtures) readLamaStories(file string, body []byte) (string, bool) {
	var items []struct {
		User wireUser `json:"user"`
	}
	if err := json.Unmarshal(body, &items); err != nil {
		return err.Error(), false
	}
	if len(items) == 0 || items[0].User.PK == "" {
		return "no stories with a user", false
	}
	f.account(items[0].User)
	id := items[0].User.PK.String()
	f.put(Entity{Lama, "stories", id, id, file, ""}, 1, body, lamaReels)
	return "", true
}
