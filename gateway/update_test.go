package gateway

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"beat/streams/event"
)

const updated = `{"status":{"type":"SUCCESS","message":"Scrape request log updated"}}`

// The row gets the status and the count, and the event says what the client said.
func TestUpdateTask(t *testing.T) {
	t.Parallel()
	sent := &retold{}
	s := open(t, Config{Send: sent})
	s.exec(`INSERT INTO scrape_request_log (id, flow, platform, params, status, data, retry_count, priority, join_key, fence, lease_owner, lease_until, created_at)
		VALUES (7, 'refresh_profile_by_handle', 'INSTAGRAM', '{"handle": "x"}', 'PROCESSING', 'old', 1, 3, 'j', 5, 'me', now() + interval '1 hour', now())`)
	state := func() (line string) {
		if err := s.db.QueryRow(t.Context(), `SELECT concat_ws('|', flow, params, status, data, retry_count, priority, join_key, lease_owner, lease_until)
			FROM scrape_request_log WHERE id = 7`).Scan(&line); err != nil {
			t.Fatal(err)
		}
		return line
	}
	told := func(want string) {
		t.Helper()
		if len(sent.events) != 1 {
			t.Fatalf("%d events, want 1", len(sent.events))
		}
		e := sent.events[0]
		sent.events = nil
		if time.Since(e.At) > time.Minute || e.EventID != event.ID("update", int64(7), e.Fence, e.Status) {
			t.Errorf("event %+v", e)
		}
		e.EventID, e.Fence, e.At, e.ExpiresAt = "", 0, time.Time{}, nil
		if got, _ := json.Marshal(e); string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const path = "/scrape_request_log/flow/update/7"
	s.expect("POST", path, `{"flow":"f","platform":"youtube","params":{"a":18446744073709551615},"retry_count":"2","status":"FAILED","more":1}`, 200, updated)
	if got, want := state(), `refresh_profile_by_handle|{"handle": "x"}|FAILED|old|2|3`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	told(`{"event_id":"","id":7,"flow":"f","platform":"YOUTUBE","params":{"a":18446744073709551615},"status":"FAILED","priority":3,"reason":null,` +
		`"at":"0001-01-01T00:00:00Z","picked_at":null,"expires_at":null,"retry_count":2}`)

	s.expect("POST", path, `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":3,"status":"PENDING"}`, 200, updated)
	if got, want := state(), `refresh_profile_by_handle|{"handle": "x"}|PENDING|3|3`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	told(`{"event_id":"","id":7,"flow":"f","platform":"YOUTUBE","params":{},"status":"PENDING","priority":3,"reason":null,` +
		`"at":"0001-01-01T00:00:00Z","picked_at":null,"expires_at":null,"retry_count":3}`)

	// What cannot be told is not so.
	sent.err = errors.New("nats://u:geheim@host: no answer")
	s.expect("POST", path, `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":4,"status":"COMPLETE"}`, 200,
		failed("Something went wrong - the update could not be stored and told", 400))
	if got, want := state(), `refresh_profile_by_handle|{"handle": "x"}|PENDING|3|3`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.exec("ALTER TABLE scrape_request_log RENAME TO away")
	s.expect("POST", path, `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":4,"status":"COMPLETE"}`, 200,
		failed(`Something went wrong - relation "scrape_request_log" does not exist`, 400))
	open(t, Config{}).expect("POST", path, `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":4,"status":"COMPLETE"}`, 200,
		failed("Something went wrong - tasks cannot be updated here", 400))
}

// R14 lists the newest of an account, without an envelope.
func TestListTasks(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	s.exec(`INSERT INTO scrape_request_log (id, account_id, flow, platform, params, status, data, created_at, scraped_at)
		SELECT i, CASE WHEN i % 2 = 0 THEN 'a b' ELSE 'other' END, 'fetch_channels_csv', 'YOUTUBE', '{"channel_ids": ["UC1"]}', 'COMPLETE', '{''a'': 1}',
			timestamp '2023-09-25 14:00:01.120001' - i * interval '1 minute', '2023-09-25 14:03:12' FROM generate_series(1, 40) i`)
	s.expect("GET", "/list_scrape_data/a%20b?size=2", "", 200, `{"account_id":"a b","scrape_list":[`+
		`{"scrape_id":2,"account_id":"a b","data":"{'a': 1}","status":"COMPLETE","params":{"channel_ids":["UC1"]},"created_at":"2023-09-25T13:58:01.120001",`+
		`"flow":"fetch_channels_csv","scraped_at":"2023-09-25T14:03:12","platform":"YOUTUBE"},`+
		`{"scrape_id":4,"account_id":"a b","data":"{'a': 1}","status":"COMPLETE","params":{"channel_ids":["UC1"]},"created_at":"2023-09-25T13:56:01.120001",`+
		`"flow":"fetch_channels_csv","scraped_at":"2023-09-25T14:03:12","platform":"YOUTUBE"}]}`)
	for size, want := range map[string]int{"": 10, "?size=0": 0, "?size=%2015%20": 15, "?size=99999999999999999999": 20} {
		if _, body := s.call("GET", "/list_scrape_data/a%20b"+size, ""); strings.Count(body, `"scrape_id":`) != want {
			t.Errorf("%s: got %d, want %d", size, strings.Count(body, `"scrape_id":`), want)
		}
	}
	s.exec("ALTER TABLE scrape_request_log RENAME TO away")
	s.expect("GET", "/list_scrape_data/1", "", 200, failed(`scrape log not found for account id - relation "scrape_request_log" does not exist`, 404))
	s.expect("GET", "/scrape_request_log/flow/7", "", 200, failed(`scrape log not found - relation "scrape_request_log" does not exist`, 404))
}
