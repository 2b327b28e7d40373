package sandbox

import (
	"net/http"
	"strconv"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 14: what is asked is in a JSON
// body, of a GET or a POST; what the app says is in an envelope, with ids as text
// and the app's status beside it.
var rocketapiRoutes = []route{
	{"/instagram/media/get_info_by_shortcode", "", "", social.PostByShortcode, (*Sandbox).rocketPost, "items", `{"0":"feed"}`},
	{"/instagram/user/get_clips", "", "", social.Reels, (*Sandbox).rocketReels, "items", `{"0":"clips"}`},
	{"/instagram/user/get_stories", "", "", social.StoriesByID, (*Sandbox).rocketStories, "items", `{"0":"story"}`},
	{"/instagram/user/get_followers", "", "", social.Followers, (*Sandbox).rocketFollowers, "users", `{"0":"user"}`},
}

// rocketApp is the app's layout as this source passes it on.
var rocketApp = app{quote: `"`, views: true, sent: true}

const (
	rocketPage = 100
	envelope   = `{"status":"done","response":{"status_code":200,"content_type":"application/json","body":`
	// Some errors are passed on as text.
	rocketNoPost = `{"status":"done","response":{"status_code":400,"content_type":"application/json","body":"{\"message\": \"Media not found or unavailable\", \"status\": \"fail\"}"}}`
)

// rocketFailed is an answer that has nothing, with the status of the app.
func rocketFailed(b []byte, status int, message string) answer {
	b = strconv.AppendInt(append(b, `{"status":"done","response":{"status_code":`...), int64(status), 10)
	b = append(append(b, `,"content_type":"application/json","body":{"message":"`...), message...)
	return fine(append(b, `","status":"fail"}}}`...))
}

// unasked refuses a body that is no JSON object.
func unasked(b []byte) answer {
	return answer{http.StatusBadRequest, append(b, `{"detail":"JSON parse error"}`...), built}
}

func (s *Sandbox) rocketPost(c call, b []byte) answer {
	ask, ok := c.asks()
	if !ok {
		return unasked(b)
	}
	if raw := s.real.of[rocketPosts][ask.Shortcode]; raw != nil {
		return recorded(raw)
	}
	l, p, ok := s.world.byShortcode(ask.Shortcode)
	if !ok || l.kind.total == 0 {
		return fine(append(b, rocketNoPost...))
	}
	return fine(append(s.appendAlone(append(b, envelope...), l, p, rocketApp), `}}`...))
}

func (s *Sandbox) rocketReels(c call, b []byte) answer {
	ask, ok := c.asks()
	if !ok {
		return unasked(b)
	}
	id := ask.ID.String()
	if raw := s.real.of[appReels][id]; raw != nil && ask.MaxID == "" {
		return fine(append(append(append(b, envelope...), raw...), `}}`...))
	}
	if _, found := s.world.byID(id); !found {
		return rocketFailed(b, 404, "User not found")
	}
	b, ok = s.appendReels(append(b, envelope...), c, id, ask.MaxID, rocketApp)
	if !ok {
		return rocketFailed(b[:0], 400, "Invalid max_id")
	}
	return fine(append(b, `}}`...))
}

func (s *Sandbox) rocketStories(c call, b []byte) answer {
	ask, ok := c.asks()
	if !ok || len(ask.IDs) == 0 {
		return unasked(b)
	}
	id := ask.IDs[0].String()
	b = append(b, envelope...)
	if raw := s.real.of[appStories][id]; raw != nil {
		return fine(append(append(b, raw...), `}}`...))
	}
	b = s.appendStoryReels(append(b, '{'), id, rocketApp)
	return fine(append(b, `,"status":"ok"}}}`...))
}

func (s *Sandbox) rocketFollowers(c call, b []byte) answer {
	ask, ok := c.asks()
	if !ok {
		return unasked(b)
	}
	a, ok := s.account(ask.ID.String())
	switch {
	case !ok:
		return rocketFailed(b, 404, "User not found")
	case a.trait == private:
		return rocketFailed(b, 400, "Not authorized to view user")
	}
	who := s.world.followersOf(a)
	from, ok := c.from(ask.MaxID, who.list, who.of, int64(who.size))
	if !ok {
		return rocketFailed(b, 400, "Invalid max_id")
	}
	g := page(from, int64(who.size), size(ask.Count.String(), rocketPage))
	b = append(append(b, envelope...), `{"users":[`...)
	for n := g.first; n >= g.last; n-- {
		b = s.appendPerson(b, s.world.person(who, uint64(n)), "pk", "pk_id", "id")
		b = append(b, `,"has_anonymous_profile_picture":false,"latest_reel_media":0,"account_badges":[]},`...)
	}
	b = strconv.AppendBool(append(trim(b), `],"big_list":`...), g.more)
	b = appendInt(b, `,"page_size":`, size(ask.Count.String(), rocketPage))
	if g.more {
		b = appendCursor(append(b, `,"next_max_id":"`...), c.src.cursor, who.list, who.of, g.last-1)
		b = append(b, '"')
	}
	return fine(append(b, `,"has_more":false,"should_limit_list_of_followers":false,"status":"ok"}}}`...))
}
