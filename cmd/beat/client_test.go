package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"beat/gateway/client"
	"beat/streams/social"
)

// Each method of the client, against a gateway with its whole pipeline.
func TestClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.deps.MetaAppToken = "sandbox-token"
	a := w.runAll()
	c, err := client.New("http://"+<-a.addr, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	called := map[string]bool{}
	ok := func(method string, err error, good bool, got any) {
		t.Helper()
		called[method] = true
		if err != nil || !good {
			t.Errorf("%s: got %+v, %v", method, got, err)
		}
	}
	refused := func(method string, err error, code int) {
		t.Helper()
		e, is := errors.AsType[*client.Error](err)
		if !is || e.Code != code && e.Status != code {
			t.Errorf("%s: got %v, want %d", method, err, code)
		}
	}
	const handle = "creator00011"

	id, err := c.Enqueue(ctx, client.Request{Flow: "refresh_profile_by_handle", Platform: "INSTAGRAM", Params: map[string]string{"handle": handle}, Account: "42"})
	ok("Enqueue", err, id > 0, id)
	_, err = c.Enqueue(ctx, client.Request{Flow: "refresh_profile_by_handle", Platform: "INSTAGRAM"})
	refused("Enqueue", err, 422)
	w.outcome(id, social.Complete)
	task, err := c.Task(ctx, id)
	ok("Task", err, task != nil && task.ID == id && *task.Status == "COMPLETE" && *task.Data == "None" && task.ScrapedAt != nil && !task.ScrapedAt.IsZero(), task)
	_, err = c.Task(ctx, id+1000)
	refused("Task", err, 404)
	if task == nil {
		t.FailNow()
	}
	list, err := c.Tasks(ctx, "42", 5)
	ok("Tasks", err, len(list) == 1 && list[0].ID == id && *list[0].Account == "42", list)
	why, err := c.Why(ctx, id)
	ok("Why", err, why != nil && why.ID == id && why.Says == "It is complete.", why)
	_, err = c.Why(ctx, id+1000)
	refused("Why", err, 404)

	p, err := c.Profile(ctx, handle, client.Reading{Full: true})
	ok("Profile", err, p != nil && *p.Handle == handle && len(p.Recent) > 0 && p.Metrics.All != nil && p.UpdatedAt.Year() > 2000, p)
	_, err = c.Profile(ctx, "a\x00b", client.Reading{})
	refused("Profile", err, 404)
	if p == nil {
		t.FailNow()
	}
	p, err = c.ProfileByID(ctx, *p.ProfileID, client.Reading{})
	ok("ProfileByID", err, p != nil && *p.Handle == handle, p)
	recent, err := c.RecentPosts(ctx, *p.ProfileID)
	ok("RecentPosts", err, len(recent) > 0 && *recent[0].Shortcode != "", recent)
	channel, err := c.Channel(ctx, "UCexampleChannel00000001", client.Reading{})
	ok("Channel", err, channel != nil && *channel.ChannelID == "UCexampleChannel00000001", channel)
	channelID, err := c.ChannelID(ctx, "ridgefilms")
	ok("ChannelID", err, strings.HasPrefix(channelID, "UC"), channelID)

	err = c.UpdateTask(ctx, id, client.Update{Flow: *task.Flow, Platform: *task.Platform, Params: task.Params, RetryCount: 2, Status: "FAILED"})
	ok("UpdateTask", err, w.text("SELECT status FROM scrape_request_log WHERE id = $1", id) == "FAILED", nil)
	ok("Validate", c.Validate(ctx, client.Token{Token: "EAAB", UserID: "1", Handle: handle}), true, nil)
	refused("Validate", c.Validate(ctx, client.Token{Token: "EAABexpired", UserID: "1", Handle: handle}), 190)

	missing, err := c.Ready(ctx)
	ok("Ready", err, len(missing) == 0, missing)
	document, err := c.OpenAPI(ctx)
	ok("OpenAPI", err, strings.Contains(string(document), `"openapi": "3.1.0"`), len(document))
	metrics, err := c.Metrics(ctx)
	ok("Metrics", err, strings.Contains(string(metrics), "beat_tasks_complete_total"), len(metrics))
	on, err := c.Heartbeat(ctx)
	ok("Heartbeat", err, on, on)
	ok("SetHeartbeat", c.SetHeartbeat(ctx, false), true, nil)
	if on, err := c.Heartbeat(ctx); on || err != nil {
		t.Errorf("off: got %v, %v", on, err)
	}
	ok("SetHeartbeat", c.SetHeartbeat(ctx, true), true, nil)
	for m := range reflect.TypeFor[*client.Client]().Methods() {
		if !called[m.Name] {
			t.Errorf("%s was not called", m.Name)
		}
	}
}
