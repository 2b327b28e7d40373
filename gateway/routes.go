package gateway

import (
	"net/http"

	"github.com/google/jsonschema-go/jsonschema"

	"beat/gateway/access"
	"beat/streams/lineage"
)

// The groups of operations, in the order of the document.
var groups = []struct{ name, about string }{
	{onProfiles, "Stored profiles, refreshed first when they are old. Who asks waits for the refresh, for less than a minute."},
	{onPosts, "Posts of Instagram, and YouTube's channel ids."},
	{onTasks, "What is to be done: each task is one run of a flow."},
	{onTokens, "Tokens of creators at Graph. The tokens with which this API is asked are made by beat token new."},
	{onProcess, "State of the process, for load balancers, deployments and monitoring."},
}

const (
	onProfiles = "profiles"
	onPosts    = "posts"
	onTasks    = "tasks"
	onTokens   = "tokens"
	onProcess  = "process"
)

// inPath are the parameters of paths, by name.
var inPath = map[string]param{
	"platform": {about: "In lower case, or all in upper case.", example: "instagram",
		schema: oneOfTexts("instagram", "youtube", "shopify", "INSTAGRAM", "YOUTUBE", "SHOPIFY")},
	"handle":     {about: "Instagram's user name, in any case, or YouTube's channel id.", example: "wanderlens.studio", schema: schemaOf("string")},
	"id":         {about: "Instagram's profile id or YouTube's channel id.", example: "4815162342", schema: schemaOf("string")},
	"profile_id": {about: "Instagram's profile id.", example: "4815162342", schema: schemaOf("string")},
	"shortcode":  {about: "Shortcode of the post; of a story, its id.", example: "CxQ7aBcD123", schema: schemaOf("string")},
	"post_type":  {about: "story, or reels, image, carousel or any other word for a post.", example: "reels", schema: schemaOf("string")},
	"flow":       {about: "Ignored: the flow of the body counts.", example: "refresh_profile_by_handle", schema: schemaOf("string")},
	"scrape_id":  {about: "Id of the task.", example: 88213457, schema: schemaOf("integer")},
	"account_id": {about: "The account that the tasks were created for.", example: "42", schema: schemaOf("string")},
}

// The parameters that several operations have.
var (
	urgentParam = param{name: "urgent", in: "query", schema: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schemaOf("boolean"), oneOfTexts(words...)}},
		about: "false lets the refresh wait for the off-peak hours when the day's budget is nearly used; the answer is then the id of its task.", example: false}
	graphToken  = queryText("token", "The creator's token at Graph. It becomes the credential of the handle, unless that has one that works.", "EAAB…")
	graphUser   = queryText("user_id", "The creator's user id at Graph.", "17841400000000000")
	taskInPath  = param{name: "id", in: "path", about: "Id of the task.", example: 88213457, schema: schemaOf("integer")}
	notRefresh  = declared("third_party_fallback", "Without effect.", false)
	ofInstagram = param{name: "platform", in: "path", about: "Instagram alone, in any case.", example: "INSTAGRAM", schema: oneOfTexts("INSTAGRAM", "instagram")}
)

const (
	envelope = "The profile. Business errors come with this status too: look at status.type."
	wrongful = "What is wrong with which parameter."
)

// refused are the answers to requests that are wrong.
func refused(example string) answer {
	return answer{http.StatusUnprocessableEntity, wrongful, []form{{invalidAnswer{}, example}}, nil}
}

// table is every route. It is read from top to bottom, so those with more words of
// their own come first (contract/http.md 2). It is the one place that says what
// there is: the router, the scopes and the document are made of it.
func table() []route {
	byHandle := operation{handle: (*Gateway).byHandle, contract: "R1", scope: access.Refresh, id: "getProfileByHandle", group: onProfiles,
		summary: "Profile by handle",
		about: "The stored profile, refreshed first when it is missing or older than a day. full_refresh reads posts too, and is limited; " +
			"Concurrency Limit Exceeded has code 2.",
		params: []param{loose("full_refresh", "Refresh posts and reels too, and answer them with their averages (Instagram)."),
			loose("force_refresh", "Refresh even what is fresh (Instagram)."), urgentParam},
		answers: []answer{{200, envelope, []form{{profileAnswer[account]{}, "profile-full"}, {profileAnswer[account]{}, "profile"}, {profileAnswer[channel]{}, "profile-youtube"},
			{createdAnswer{}, "task-created"}, fails("profile-missing"), fails("limited"), fails("unsupported")}, nil}, refused("invalid-platform")}}
	byHandleToo := byHandle
	byHandleToo.contract, byHandleToo.id, byHandleToo.summary = "R2", "getSocialProfileByHandle", "Profile by handle, for the SaaS gateway"
	return []route{
		{path: "/heartbeat", verbs: verbs{
			"GET": {handle: (*Gateway).heartbeat, contract: "R17", id: "getHeartbeat", group: onProcess,
				summary: "Whether the process takes requests", about: "For load balancers. It never needs a token.",
				answers: []answer{{200, "It is on.", nil, nil}, {410, "It is off.", nil, nil}}},
			"PUT": {handle: (*Gateway).setHeartbeat, contract: "R18", scope: access.Admin, id: "setHeartbeat", group: onProcess,
				summary: "Turn the heartbeat on or off", about: "Off drains the process: it begins only what requests wait for, and answers all of them within eight seconds.",
				params: []param{declared("beat", "On or off.", true)},
				answers: []answer{{200, "It is on now.", nil, nil}, {410, "It is off now.", nil, nil},
					refused("invalid-missing")}},
		}},
		{path: "/healthz", verbs: withHead(operation{handle: healthz, id: "getHealth", group: onProcess,
			summary: "Whether the process is alive", answers: []answer{{200, "It is.", nil, &text{plainText, "ok"}}}})},
		{path: "/readyz", verbs: withHead(operation{handle: (*Gateway).readyz, id: "getReady", group: onProcess,
			summary: "Whether all servers answer",
			answers: []answer{{200, "They do.", []form{{readyAnswer{}, "ready"}}, nil}, {503, "Those named do not.", []form{{readyAnswer{}, "not-ready"}}, nil}}})},
		{path: "/profiles/{platform}/byhandle/{handle}", verbs: verbs{"GET": &byHandle}},
		{path: "/social-profile-service/{platform}/byhandle/{handle}", verbs: verbs{"GET": &byHandleToo}},
		{path: "/profiles/{platform}/byid/{id}", verbs: verbs{
			"GET": {handle: (*Gateway).byID, contract: "R3", scope: access.Refresh, id: "getProfileByID", group: onProfiles,
				summary: "Profile by the platform's id", about: "Refreshed in full first when it is missing or older than a day.",
				params: []param{notRefresh, urgentParam},
				answers: []answer{{200, envelope, []form{{profileAnswer[account]{}, "profile"}, {profileAnswer[channel]{}, "profile-youtube"}, {createdAnswer{}, "task-created"},
					fails("profile-failed"), fails("limited"), fails("unsupported")}, nil}, refused("invalid-platform")}}}},
		{path: "/profiles/{platform}/byprofileid/{profile_id}", verbs: verbs{
			"GET": {handle: (*Gateway).byProfileID, contract: "R4", scope: access.Refresh, id: "getProfileByProfileID", group: onProfiles,
				summary: "Instagram profile by id, nested", about: "Refreshed in full first when it is missing or older than seven days.",
				answers: []answer{{200, envelope, []form{{profileAnswer[nestedProfile]{}, "profile-nested"}, fails("profile-missing"), fails("unsupported")}, nil}, refused("invalid-platform")}}}},
		{path: "/recent/posts/{platform}/byprofileid/{profile_id}", verbs: verbs{
			"GET": {handle: (*Gateway).recent, contract: "R7", scope: access.Read, id: "getRecentPosts", group: onPosts,
				summary: "The twelve newest posts that have a picture", about: "What is stored: nothing is refreshed. Instagram alone.",
				answers: []answer{{200, "The posts. Business errors come with this status too.", []form{{recentAnswer{}, "recent-posts"}, fails("recent-posts-missing"),
					fails("unsupported")}, nil}, refused("invalid-platform")}}}},
		{path: "/posts/{platform}/byshortcode/{shortcode}", verbs: verbs{
			"GET": {handle: (*Gateway).byShortcode, contract: "R8", scope: access.Refresh, id: "getPostByShortcode", group: onPosts,
				summary: "A post with fresh insights",
				about: "Only the account's own credential gets insights. While Graph does not answer, those that are stored are told, with stale and as_of. " +
					"An error of the provider comes with its code.",
				params: []param{queryText("handle", "Whose post it is.", "wanderlens.studio"),
					declared("third_party_fallback", "Ask others, who have no insights, when Graph has no answer.", false)},
				answers: []answer{{200, "The post. Business errors come with this status too.", []form{{postAnswer[providedPost]{}, "post"}, fails("post-missing"),
					fails("token-invalid"), fails("unsupported")}, nil}, refused("invalid-missing")}}}},
		{path: "/posts/{platform}/{post_type}/{shortcode}", verbs: verbs{
			"GET": {handle: (*Gateway).byType, contract: "R9", scope: access.Refresh, id: "getPostByType", group: onPosts,
				summary: "A post or a story, refreshed", about: "Always refreshed first.",
				params: []param{queryText("profile_id", "Whose it is; only stories are found by it, but it is required of all.", "4815162342")},
				answers: []answer{{200, "The post. Business errors come with this status too.", []form{{postAnswer[plainPost]{}, "post-plain"}, {postAnswer[providedPost]{}, "story"},
					fails("story-missing"), fails("unsupported")}, nil}, refused("invalid-missing")}}}},
		{path: "/youtube/channel/byhandle/{handle}", verbs: verbs{
			"GET": {handle: (*Gateway).channelID, contract: "R10", scope: access.Refresh, id: "getChannelID", group: onPosts,
				summary: "YouTube's channel id of a handle", about: "Read off the channel's page, now. Nothing is stored.",
				params:  []param{{name: "handle", in: "path", about: "With or without @.", example: "@ridgefilms", schema: schemaOf("string")}},
				answers: []answer{{200, "The id. Business errors come with this status too.", []form{{channelAnswer{}, "channel-id"}, fails("channel-id-missing")}, nil}}}}},
		{path: "/scrape_request_log/flow/{flow}", verbs: verbs{
			"GET": {handle: (*Gateway).readTask, contract: "R13", scope: access.Read, id: "getTask", group: onTasks, summary: "A task",
				params: []param{{name: "flow", in: "path", about: "Id of the task.", example: 88213457, schema: schemaOf("integer")}},
				answers: []answer{{200, "The task. Business errors come with this status too.", []form{{taskAnswer{}, "task"}, fails("task-missing")}, nil},
					refused("invalid-id")}},
			"POST": {handle: (*Gateway).createTask, contract: "R11", scope: access.Refresh, id: "createTask", group: onTasks, summary: "Queue a task",
				about:   "Flow and parameters are checked before anything is stored. The content type does not matter.",
				params:  []param{{name: "x-bb-account-id", in: "header", about: "The account that it is for.", example: "42", schema: schemaOf("string")}},
				body:    &body{"What is to be done. Parameters that a flow does not have are refused.", taskBody(), []string{"task-request"}},
				answers: []answer{{200, "The task's id. Business errors come with this status too.", []form{{createdAnswer{}, "task-created"}, fails("task-refused")}, nil}, refused("invalid-body")}}}},
		{path: "/scrape_request_log/flow/update/{scrape_id}", verbs: verbs{
			"POST": {handle: (*Gateway).updateTask, contract: "R12", scope: access.Admin, id: "updateTask", group: onTasks, summary: "Say what has become of a task",
				about:   "PENDING queues it again. Whatever run of it is under way ends there.",
				body:    &body{"All of it is required; status and retry_count are stored.", updateBody(), []string{"task-update"}},
				answers: []answer{{200, "It is stored. Business errors come with this status too.", []form{{doneAnswer{}, "task-updated"}, fails("task-missing")}, nil}, refused("invalid-body")}}}},
		{path: "/list_scrape_data/{account_id}", verbs: verbs{
			"GET": {handle: (*Gateway).listTasks, contract: "R14", scope: access.Read, heavy: true, id: "listTasks", group: onTasks, summary: "The newest tasks of an account",
				params:  []param{{name: "size", in: "query", about: "At most this many, up to 10,000; 10 without it.", example: 10, schema: &jsonschema.Schema{Type: "integer", Minimum: new(0.0)}}},
				answers: []answer{{200, "The tasks, without an envelope; business errors have one.", []form{{listAnswer{}, "task-list"}, fails("task-list-failed")}, nil}}}}},
		{path: "/tasks/{id}/why", in: func(c Config) bool { return c.Why != nil }, verbs: verbs{
			"GET": {handle: (*Gateway).whyTask, scope: access.Read, id: "getTaskWhy", group: onTasks, summary: "Why a task is not running",
				about: "What it waits for, and when it is expected to run.", params: []param{taskInPath},
				answers: []answer{{200, "What it waits for.", []form{{Why{}, "why"}}, nil}, {404, "There is no such task.", []form{{detail{}, "not-found"}}, nil},
					refused("invalid-id"),
					{503, "A server that knows does not answer, or there are too many requests.", []form{{detail{}, "why-unknown"}}, nil}}}}},
		{path: "/lineage/{kind}/{id}", in: func(c Config) bool { return c.Lineage != nil }, verbs: verbs{
			"GET": {handle: (*Gateway).lineage, scope: access.Read, heavy: true, id: "getLineage", group: onTasks, summary: "Where a value comes from, and what became of it",
				about: "Task, raw answers, what their parser said, events and rows, whichever of them is named.",
				params: []param{{name: "kind", in: "path", about: "What id is of: task, raw, event (an event_id of RabbitMQ), or a table.", example: "instagram_account", schema: oneOfTexts(lineage.Kinds()...)},
					{name: "id", in: "path", about: "Number, raw id, event_id, or key of the row.", example: "4815162342", schema: schemaOf("string")}},
				answers: []answer{{200, "All that belongs together.", []form{{lineage.Lineage{}, "lineage"}}, nil}, {404, "There is nothing of that name.", []form{{detail{}, "not-found"}}, nil},
					refused("invalid-id"),
					{503, "A server that knows does not answer, or the search takes too long.", []form{{detail{}, "lineage-unknown"}}, nil}}}}},
		{path: "/token/validate", verbs: verbs{
			"GET": {handle: (*Gateway).validateToken, contract: "R15", scope: access.Refresh, id: "validateToken", group: onTokens, summary: "Whether a token could be a credential",
				about: "Graph is asked. Nothing is stored.",
				params: []param{queryText("access_token", "The token.", "EAAB…"), queryText("social_user_id", "Whose it is.", "17841400000000000"),
					queryText("handle", "The creator's handle.", "wanderlens.studio"), queryText("platform", "Any text.", "INSTAGRAM"),
					queryText("type", "The source; graphapi alone can be checked.", "graphapi")},
				answers: []answer{{200, "It could. Business errors come with this status too.", []form{{validAnswer{}, "token-valid"}, fails("token-refused"), fails("token-expired")}, nil},
					refused("invalid-missing")}}}},
		{path: "/tokens", verbs: verbs{
			"POST": {handle: (*Gateway).addToken, contract: "R16", scope: access.Admin, id: "addToken", group: onTokens, summary: "Does nothing",
				about:   "It is there for clients that call it.",
				body:    &body{"Any object.", schemaOf("object"), []string{"object"}},
				answers: []answer{{200, "Nothing was done.", []form{{doneAnswer{}, "token-added"}}, nil}, refused("invalid-body")}}}},
		{path: "/profiles/{platform}/byhandle/{handle}/insights", in: withTokens, verbs: verbs{
			"GET": {handle: (*Gateway).creatorInsights, contract: "R5", scope: access.Refresh, id: "getCreatorInsights", group: onProfiles,
				summary: "Profile and averages, with the creator's token", about: "Graph is asked at every call. There is no limit.",
				params: []param{ofInstagram, graphToken, graphUser},
				answers: []answer{{200, envelope, []form{{profileAnswer[creatorProfile]{}, "creator-insights"}, fails("creator-failed")}, nil},
					refused("invalid-missing")}}}},
		{path: "/profiles/{platform}/byhandle/{handle}/audienceinsights", in: withTokens, verbs: verbs{
			"GET": {handle: (*Gateway).audienceInsights, contract: "R6", scope: access.Refresh, id: "getAudienceInsights", group: onProfiles,
				summary: "Who follows an account, with the creator's token", about: "While Graph does not answer, what is stored is told, with stale and as_of.",
				params: []param{ofInstagram, graphToken, graphUser},
				answers: []answer{{200, envelope, []form{{profileAnswer[creatorAudience]{}, "audience-insights"}, fails("audience-failed")}, nil},
					refused("invalid-missing")}}}},
		{path: "/metrics", in: func(c Config) bool { return c.Metrics != nil }, verbs: verbs{
			"GET": {handle: (*Gateway).showMetrics, scope: access.Read, id: "getMetrics", group: onProcess, summary: "Metrics for Prometheus",
				answers: []answer{{200, "In the text format of Prometheus.", nil, &text{plainText, "beat_tasks_complete_total 3000\n"}}}}}},
		{path: "/openapi.json", verbs: verbs{
			"GET": {handle: (*Gateway).openAPI, id: "getOpenAPI", group: onProcess, summary: "This document", about: "OpenAPI 3.1; beat openapi prints the same.",
				answers: []answer{{200, "The document.", []form{{map[string]any{}, "openapi"}}, nil}}}}},
		{path: "/docs", verbs: verbs{
			"GET": {handle: (*Gateway).docs, id: "getDocs", group: onProcess, summary: "This document, to be read",
				answers: []answer{{200, "A page that needs nothing from elsewhere.", nil, &text{"text/html; charset=utf-8", "<!doctype html>"}}}}}},
	}
}

func withHead(get operation) verbs { return verbs{"GET": &get, "HEAD": get.head(get.id + "Head")} }

func withTokens(c Config) bool { return c.Supply != nil }
