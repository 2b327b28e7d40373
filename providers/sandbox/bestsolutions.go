package sandbox

import (
	"strings"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 12: all as the app has it, with
// ids as numbers.
var bestsolutionsRoutes = []route{
	{"/profile", "username", "", social.ProfileByHandle, (*Sandbox).bestByHandle, "pk", `{"low":1}`},
	{"/profile", "", "", social.ProfileByID, (*Sandbox).bestByID, "pk", `{"low":1}`},
	{"/feed", "", "", social.PostsByID, (*Sandbox).bestPosts, "items", `{"0":"feed"}`},
}

// bestApp is the app's layout with numbers, and views.
var bestApp = app{views: true}

func (s *Sandbox) bestByID(c call, b []byte) answer {
	id := c.q.Get("user_id")
	if raw := s.real.of[flatUsersByID][id]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	return s.bestUser(b, a, ok)
}

func (s *Sandbox) bestByHandle(c call, b []byte) answer {
	handle := strings.ToLower(c.q.Get("username"))
	if raw := s.real.of[flatUsers][handle]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.called(handle)
	return s.bestUser(b, a, ok)
}

func (s *Sandbox) bestUser(b []byte, a account, ok bool) answer {
	if !ok {
		return fine(append(b, noAccount...))
	}
	return fine(s.appendUser(b, a, bestApp))
}

func (s *Sandbox) bestPosts(c call, b []byte) answer {
	id, cursor := c.q.Get("user_id"), c.q.Get("next_max_id")
	if s.real.knownID(id) {
		return failed(b, "Media not found or unavailable")
	}
	b, ok := s.appendFeed(b, id, cursor, bestApp)
	if !ok {
		return failed(b, "Invalid next_max_id")
	}
	return fine(b)
}
