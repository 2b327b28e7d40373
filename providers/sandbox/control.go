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

  /graphapi/v12.0/17841400000009999?fields=business_discovery.username(creator00001){id}
  /rapidapi-arraybobo/ig/info_username/?user=creator00001
  /rapidapi-arraybobo/ig/info/?id_user=4000000001
  /rapidapi-arraybobo/ig/posts/?id_user=4000000001[&end_cursor=…]
  /rapidapi-arraybobo/ig/reels_posts/?id_user=4000000001[&max_id=…]
  /rapidapi-arraybobo/ig/post_info/?shortcode=…
  /ytapitoken/youtube/v3/channels?part=snippet,statistics,contentDetails&id=UCanything

Any handle exists. Prefixes: missing private personal empty noreels busy hiddenlikes.

  GET    /_sandbox/faults         what goes wrong at the moment
  POST   /_sandbox/faults         {"source":"graphapi","kind":"429","retry_after":"30s","rate":0.5,"count":10,"for":"1m"}
                                  also fetch, path, delay; kinds: %s
  DELETE /_sandbox/faults[?id=1]  all is well again
  GET    /_sandbox/stats          calls by source, fetch and status; DELETE sets them to zero
  GET    /_sandbox/fixtures       the entities that have real answers, and their files
`

// control answers what is below no source.
func (s *Sandbox) control(w http.ResponseWriter, r *http.Request) {
	switch route := r.Method + " " + strings.TrimSuffix(r.URL.Path, "/"); route {
	case "GET ", "HEAD ":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, help, strings.Join(Kinds, " "))
	case "GET /_sandbox/faults":
		reply(w, http.StatusOK, map[string]any{"faults": s.faults.list(time.Now())})
	case "POST /_sandbox/faults":
		s.postFault(w, r)
	case "DELETE /_sandbox/faults":
		var ids []int
		for _, v := range r.URL.Query()["id"] {
			id, err := strconv.Atoi(v)
			if err != nil {
				fail(w, http.StatusBadRequest, fmt.Sprintf("id %q is no number", v))
				return
			}
			ids = append(ids, id)
		}
		reply(w, http.StatusOK, map[string]int{"cleared": s.faults.clear(ids)})
	case "GET /_sandbox/stats":
		reply(w, http.StatusOK, s.Stats())
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
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	var f wireFault
	if err := d.Decode(&f); err != nil {
		fail(w, http.StatusBadRequest, "the body is no fault: "+err.Error())
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "the body goes on after the fault")
		return
	}
	id, err := s.faults.inject(f.fault())
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusCreated, map[string]int{"id": id})
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
