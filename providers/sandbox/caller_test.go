package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// at is the time of the world in tests.
var at = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func fixed() time.Time { return at }

// A caller asks a sandbox over real HTTP.
type caller struct {
	*testing.T
	*Sandbox
	root string
}

func serve(t *testing.T, cfg Config) caller {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = fixed
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); srv.Close() })
	return caller{t, s, srv.URL}
}

// get asks source with the first good credential.
func (c caller) get(source, path string, q ...string) (int, http.Header, []byte) {
	c.Helper()
	status, h, body, err := c.try(source, path, q...)
	if err != nil {
		c.Fatalf("GET %s%s %v: %v", source, path, q, err)
	}
	return status, h, body
}

func (c caller) try(source, path string, q ...string) (int, http.Header, []byte, error) {
	v := url.Values{}
	for i := 0; i < len(q); i += 2 {
		v.Set(q[i], q[i+1])
	}
	req, err := http.NewRequest(http.MethodGet, c.BaseURL(c.root, source)+path, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	for name, value := range c.Credential(source).Fields {
		switch c.gates[source].src.name {
		case GraphAPI:
			if name == "token" && !v.Has("access_token") {
				v.Set("access_token", value)
			}
		case YTAPI:
			v.Set(name, value)
		default:
			req.Header.Set(name, value)
		}
	}
	if c.gates[source].src.name == RocketAPI { // which has a body
		ask := map[string]any{}
		for name := range v {
			if ask[name] = v.Get(name); name == "ids" {
				ask[name] = []json.Number{json.Number(v.Get(name))}
			}
		}
		body, err := json.Marshal(ask)
		if err != nil {
			return 0, nil, nil, err
		}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	} else {
		req.URL.RawQuery = v.Encode()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, body, err
}

// read decodes body into v and fails when it is no JSON or names a member twice.
func (c caller) read(body []byte, v any) {
	c.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		c.Fatalf("%v in %.300s", err, body)
	}
	if err := twice(json.NewDecoder(bytes.NewReader(body))); err != nil {
		c.Errorf("%v in %.300s", err, body)
	}
}

// twice looks for an object that names a member twice.
func twice(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := make(map[string]bool)
	for d.More() {
		if delim == '{' {
			k, err := d.Token()
			if err != nil {
				return err
			}
			if seen[k.(string)] {
				return fmt.Errorf("member %q is there twice", k)
			}
			seen[k.(string)] = true
		}
		if err := twice(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

const fields = "{id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count,media{id,user_id,username,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"

func (c caller) graph(handle string) (int, []byte) {
	c.Helper()
	status, _, body := c.get(GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username("+handle+")"+fields)
	return status, body
}

type graphAnswer struct {
	User struct {
		ID        string  `json:"id"`
		IGID      *uint64 `json:"ig_id"`
		Name      string  `json:"name"`
		Followers *int64  `json:"followers_count"`
		Follows   *int64  `json:"follows_count"`
		Picture   string  `json:"profile_picture_url"`
		Username  string  `json:"username"`
		Biography string  `json:"biography"`
		Media     *int64  `json:"media_count"`
		Page      *struct {
			Data []struct {
				ID        string `json:"id"`
				Username  string `json:"username"`
				Comments  *int64 `json:"comments_count"`
				Likes     *int64 `json:"like_count"`
				Type      string `json:"media_type"`
				URL       string `json:"media_url"`
				Caption   string `json:"caption"`
				Timestamp string `json:"timestamp"`
				Permalink string `json:"permalink"`
			} `json:"data"`
			Paging struct {
				Cursors struct {
					Before string `json:"before"`
					After  string `json:"after"`
				} `json:"cursors"`
			} `json:"paging"`
		} `json:"media"`
	} `json:"business_discovery"`
	ID string `json:"id"`
}

type errorAnswer struct {
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Error   struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    int    `json:"code"`
		Subcode int    `json:"error_subcode"`
		Errors  []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
	} `json:"error"`
}

type infoAnswer struct {
	User *struct {
		PK        *uint64 `json:"pk"`
		Username  string  `json:"username"`
		FullName  string  `json:"full_name"`
		Private   *bool   `json:"is_private"`
		Media     *int64  `json:"media_count"`
		Followers *int64  `json:"follower_count"`
		Following *int64  `json:"following_count"`
		Type      int     `json:"account_type"`
		Category  uint64  `json:"category_id"`
		Latitude  float64 `json:"latitude"`
		FBID      uint64  `json:"interop_messaging_user_fbid"`
		HD        struct {
			URL string `json:"url"`
		} `json:"hd_profile_pic_url_info"`
	} `json:"user"`
	Status string `json:"status"`
}

type node struct {
	Type      string `json:"__typename"`
	ID        string `json:"id"`
	Shortcode string `json:"shortcode"`
	Display   string `json:"display_url"`
	Thumbnail string `json:"thumbnail_src"`
	Owner     struct {
		ID       string `json:"id"`
		Username string `json:"username"`
	} `json:"owner"`
	TakenAt  int64 `json:"taken_at_timestamp"`
	Comments struct {
		Count *int64 `json:"count"`
	} `json:"edge_media_to_comment"`
	Likes struct {
		Count *int64 `json:"count"`
	} `json:"edge_media_preview_like"`
	Views    *int64   `json:"video_view_count"`
	Plays    *int64   `json:"video_play_count"`
	Duration *float64 `json:"video_duration"`
	Video    string   `json:"video_url"`
	Caption  struct {
		Edges []struct {
			Node struct {
				Text string `json:"text"`
			} `json:"node"`
		} `json:"edges"`
	} `json:"edge_media_to_caption"`
	Tagged struct {
		Edges []struct {
			Node struct {
				User struct{ ID, Username string } `json:"user"`
				X    float64                       `json:"x"`
			} `json:"node"`
		} `json:"edges"`
	} `json:"edge_media_to_tagged_user"`
	Sponsors struct {
		Edges []struct {
			Node struct {
				Sponsor struct{ ID, Username string } `json:"sponsor"`
			} `json:"node"`
		} `json:"edges"`
	} `json:"edge_media_to_sponsor_user"`
}

type postsAnswer struct {
	Data struct {
		User *struct {
			Media struct {
				Count int64 `json:"count"`
				Page  struct {
					More   *bool   `json:"has_next_page"`
					Cursor *string `json:"end_cursor"`
				} `json:"page_info"`
				Edges []struct {
					Node node `json:"node"`
				} `json:"edges"`
			} `json:"edge_owner_to_timeline_media"`
		} `json:"user"`
	} `json:"data"`
	Status string `json:"status"`
}

type reelsAnswer struct {
	Items []struct {
		Media struct {
			PK      json.Number `json:"pk"`
			Code    string      `json:"code"`
			TakenAt int64       `json:"taken_at"`
			Type    int         `json:"media_type"`
			User    struct {
				PK       json.Number `json:"pk"`
				Username string      `json:"username"`
			} `json:"user"`
			Caption *struct {
				Text string `json:"text"`
			} `json:"caption"`
			Comments *int64 `json:"comment_count"`
			Likes    *int64 `json:"like_count"`
			Plays    *int64 `json:"play_count"`
			Videos   []struct {
				URL string `json:"url"`
			} `json:"video_versions"`
			Images struct {
				Candidates []struct {
					URL string `json:"url"`
				} `json:"candidates"`
			} `json:"image_versions2"`
		} `json:"media"`
	} `json:"items"`
	Paging struct {
		Max  string `json:"max_id"`
		More *bool  `json:"more_available"`
	} `json:"paging_info"`
	Status string `json:"status"`
}
