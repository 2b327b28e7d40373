package sandbox

import (
	"strings"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 11: all as the web has it, but
// without what is around it. By id there is no more than the name.
var neotankRoutes = []route{
	{"/username-by-id", "", "", social.ProfileByID, (*Sandbox).neoByID, "username", `{"low":1}`},
	{"/account-info", "", "", social.ProfileByHandle, (*Sandbox).neoByHandle, "id", `{"low":1}`},
	{"/account-medias", "", "", social.PostsByID, (*Sandbox).neoPosts, "edges", `{"0":"GraphImage"}`},
}

const noAccount = `{"message":"User not found"}`

func (s *Sandbox) neoByID(c call, b []byte) answer {
	a, ok := s.account(c.q.Get("userid"))
	if !ok {
		return fine(append(b, `{"data":{"user":null},"status":"ok"}`...))
	}
	b = append(append(b, `{"data":{"user":{"reel":{"user":{"username":"`...), a.handle...)
	return fine(append(appendUint(b, `","id":"`, a.id), `"}}}},"status":"ok"}`...))
}

func (s *Sandbox) neoByHandle(c call, b []byte) answer {
	handle := strings.ToLower(c.q.Get("username"))
	if raw := s.real.of[webUsers][handle]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.called(handle)
	if !ok {
		return answer{404, append(b, noAccount...), built}
	}
	b = s.appendWebUser(b, a)
	b = appendUint(b, `,"edge_owner_to_timeline_media":{"count":`, s.world.mediaCount(a))
	b = append(b, `,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}`...)
	return fine(append(s.pad(b, "connected_fb_page", a.seed, s.cfg.Pad), '}'))
}

// neoPosts answers a page of posts; of a private account it is empty.
func (s *Sandbox) neoPosts(c call, b []byte) answer {
	id, cursor := c.q.Get("userid"), c.q.Get("after")
	if raw := s.real.page(webTimelines, webTimelinesEnd, id, cursor); raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	if !ok {
		return answer{404, append(b, noAccount...), built}
	}
	l := s.world.timeline(a, posts)
	from, ok := c.from(cursor, posts, a.id, l.newest)
	if !ok {
		return failed(b, "Invalid after")
	}
	b = appendUint(b, `{"owner":{"id":"`, a.id)
	b = append(append(append(b, `","username":"`...), a.handle...), `"},`...)
	return fine(append(s.appendTimeline(b, c, l, from, 0), '}'))
}
