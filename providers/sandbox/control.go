package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const help = `beat provider sandbox: answers like the real providers. All data is made up,
except for what came from a folder of fixtures.

  /graphapi/v12.0/17841400000009999?fields=business_discovery.username(creator00001){id,media_count}
  /graphapi/v12.0/17900000000002000/insights?metric=reach,saved&period=lifetime
  /graphapi/v17.0/17841404000000001/insights?metric=follower_demographics&breakdown=city
  /rapidapi-arraybobo/ig/info_username/?user=creator00001
  /rapidapi-arraybobo/ig/info/?id_user=4000000001
  /rapidapi-arraybobo/ig/posts/?id_user=4000000001[&end_cursor=…]
  /rapidapi-arraybobo/ig/reels_posts/?id_user=4000000001[&max_id=…]
  /rapidapi-arraybobo/ig/post_info/?shortcode=…  ig/tagged/  ig/stories/
  /rapidapi-jotucker/user_info_by_id?user_name=creator00001  medias_v2  media_info_v2
                     followers?user_id=4000000001[&next_cursor=…]  following
                     media_likers?short_code=…  media_comments  hash_tag_medias_v2?hash_tag=coffee
  /rapidapi-neotank/account-info?username=creator00001  username-by-id  account-medias
  /rapidapi-bestsolutions/profile?username=creator00001  feed
  /rapidapi-igapi/web_followers?user_id=4000000001
  /rocketapi/instagram/user/get_followers with {"id":"4000000001"}  get_clips  get_stories
                     media/get_info_by_shortcode
  /lama/a1/user?username=creator00001  a1/media  v1/user/by/id  v1/user/medias/chunk  v1/user/stories
                     v1/hashtag/medias/recent/chunk?name=coffee  gql/user/followers/chunk  gql/user/following/chunk
  /ytapitoken/youtube/v3/channels?part=snippet,statistics,contentDetails&id=UCanything
  /youtube-page/@anything

Any handle exists. Prefixes: missing private personal empty noreels nostories busy hiddenlikes.
Sources: %s.

  GET    /_sandbox/faults         what goes wrong at the moment, and how many calls it hit
  POST   /_sandbox/faults         {"source":"graphapi","kind":"429","retry_after":"30s","rate":0.5,"count":10,"for":"1m"}
                                  also fetch, path, delay; "sources":["graphapi","ytapitoken"] for several, neither for all
                                  kinds: %s
  DELETE /_sandbox/faults[?id=1]  all is well again

  GET    /_sandbox/quotas         how many calls a source answers; keys are shown as hashes everywhere
  POST   /_sandbox/quotas         {"source":"rapidapi-arraybobo","calls":100,"per":"30s","sliding":true,"headers":true,"ban_after":3}
                                  one for each key; "key":"…" for one of them, "shared":true for all together
                                  a key that ignores ban_after answers of 429 is banned; grace: for calls under way, 250ms
  DELETE /_sandbox/quotas[?source=graphapi]  no quota and no ban

  GET    /_sandbox/keys           what has expired or will
  POST   /_sandbox/keys           {"source":"graphapi","key":"…","expires_in":"10s"}, or "match":"prefix"
  DELETE /_sandbox/keys[?id=1]    they are good again

  GET    /_sandbox/stats[?window=30s]  calls by source, fetch and status, and by key; with window, the most calls in
                                  any window of that length in the last ten minutes; DELETE sets all to zero
  GET    /_sandbox/fixtures       the entities that have real answers, and their files
`

// control answers what is below no source.
func (s *Sandbox) control(w http.ResponseWriter, r *http.Request) {
	switch route := r.Method + " " + strings.TrimSuffix(r.URL.Path, "/"); route {
	case "GET ", "HEAD ":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, help, strings.Join(s.names(), " "), strings.Join(Kinds, " "))
	case "GET /_sandbox/faults":
		reply(w, http.StatusOK, map[string]any{"faults": s.faults.list(s.cfg.Clock())})
	case "POST /_sandbox/faults":
		s.postFault(w, r)
	case "DELETE /_sandbox/faults":
		if ids, ok := readIDs(w, r); ok {
			reply(w, http.StatusOK, map[string]int{"cleared": s.faults.clear(ids)})
		}
	case "GET /_sandbox/quotas":
		reply(w, http.StatusOK, map[string]any{"quotas": s.listQuotas()})
	case "POST /_sandbox/quotas":
		s.postQuota(w, r)
	case "DELETE /_sandbox/quotas":
		reply(w, http.StatusOK, map[string]int{"cleared": s.ClearQuotas(r.URL.Query()["source"]...)})
	case "GET /_sandbox/keys":
		reply(w, http.StatusOK, map[string]any{"keys": s.listExpiries()})
	case "POST /_sandbox/keys":
		s.postKeys(w, r)
	case "DELETE /_sandbox/keys":
		if ids, ok := readIDs(w, r); ok {
			reply(w, http.StatusOK, map[string]int{"cleared": s.Renew(ids...)})
		}
	case "GET /_sandbox/stats":
		s.getStats(w, r)
	case "DELETE /_sandbox/stats":
		s.ResetStats()
		reply(w, http.StatusOK, s.Stats())
	case "GET /_sandbox/fixtures":
		reply(w, http.StatusOK, s.Fixtures())
	default:
		fail(w, http.StatusNotFound, "no such thing: "+route+"; GET / says what there is")
	}
}

func (s *Sandbox) postFault(w http.ResponseWriter, r *http.Request) {
	var f wireFault
	if !readBody(w, r, "fault", &f) {
		return
	}
	id, err := s.inject(f.fault())
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusCreated, map[string]int{"id": id})
}

func (s *Sandbox) getStats(w http.ResponseWriter, r *http.Request) {
	v := struct {
		Window      wireDur        `json:"window,omitzero"`
		MaxInWindow map[string]int `json:"max_in_window,omitempty"` // by source
		Stats
	}{Stats: s.Stats()}
	if text := r.URL.Query().Get("window"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			fail(w, http.StatusBadRequest, fmt.Sprintf("window %q is no time such as 30s", text))
			return
		}
		v.Window = wireDur(d)
		v.MaxInWindow = make(map[string]int)
		for name := range v.Sources {
			v.MaxInWindow[name] = s.MaxInWindow(name, d)
		}
	}
	reply(w, http.StatusOK, v)
}

// readBody reads a JSON object into v, which is what. When it cannot, it has
// answered.
func readBody(w http.ResponseWriter, r *http.Request, what string, v any) bool {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		fail(w, http.StatusBadRequest, "the body is no "+what+": "+err.Error())
		return false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "the body goes on after the "+what)
		return false
	}
	return true
}

// readIDs reads the parameters id. When it cannot, it has answered.
func readIDs(w http.ResponseWriter, r *http.Request) (ids []int, ok bool) {
	for _, v := range r.URL.Query()["id"] {
		id, err := strconv.Atoi(v)
		if err != nil {
			fail(w, http.StatusBadRequest, fmt.Sprintf("id %q is no number", v))
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) // the caller may be gone
}

func fail(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]string{"error": message})
}
