package sandbox

import (
	"strconv"

	"beat/streams/social"
)

// The call of contract/providers-instagram.md 13: followers as the web has
// them, without what is around them.
var igapiRoutes = []route{
	{"/web_followers", "", "", social.Followers, (*Sandbox).igFollowers, "edges", `{"0":"GraphUser"}`},
}

func (s *Sandbox) igFollowers(c call, b []byte) answer {
	a, ok := s.account(c.q.Get("user_id"))
	switch {
	case !ok:
		return answer{404, append(b, noAccount...), built}
	case a.trait == private:
		return failed(b, "Not authorized to view user")
	}
	who := s.world.followersOf(a)
	from, ok := c.from(c.q.Get("cursor"), who.list, who.of, int64(who.size))
	if !ok {
		return failed(b, "Invalid cursor")
	}
	g := page(from, int64(who.size), 50)
	return fine(append(s.appendCrowd(append(b, '{'), c, who, g, strconv.FormatUint(who.size, 10)), '}'))
}
