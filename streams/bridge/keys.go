package bridge

import "beat/streams/broker"

// A Key is one routing key that beat publishes: a row of contract/amqp.md
// section 1.2.
type Key struct {
	Exchange string
	Key      string
	Required bool   // a message that no queue takes is kept and tried again
	Queue    string // the known consumer, "" when none is known
}

// The exchanges. Beat declares the first two; the third belongs to identity
// and is only looked for.
const (
	BeatExchange     = broker.BeatExchange
	CoffeeExchange   = broker.CoffeeExchange
	IdentityExchange = broker.IdentityExchange
)

// The routing keys.
const (
	KeyTask         = "scrape_request_log_events"
	KeyProfile      = "profile_log_events"
	KeyPost         = "post_log_events"
	KeyRelationship = "profile_relationship_log_events"
	KeyActivity     = "post_activity_log_events"
	KeyActivities   = "post_activity_log_bulk"
	KeyTrace        = "trace_log"

	KeySentiment       = "sentiment_log_events"
	KeyOrder           = "order_log_events"
	KeyChannelActivity = "yt_activity_log_events"
	KeySubscription    = "yt_profile_relationship_log_events"
	KeyKeywordReport   = "keyword_collection_report_completion"
	KeySentimentReport = "sentiment_collection_report_out_rk"
)

// Keys is all that beat may publish, in the order of the contract. A key with
// a known consumer is required, since what is unroutable there is a broker
// that lost a queue or a binding; trace_log is not, nobody reads it.
var Keys = []Key{
	{BeatExchange, KeyTask, true, "scrape_request_log_events_q"},
	{BeatExchange, KeyProfile, true, "profile_log_events_q"},
	{BeatExchange, KeyPost, true, "post_log_events_q"},
	{BeatExchange, KeyRelationship, true, "profile_relationship_log_events_q"},
	{BeatExchange, KeyActivity, true, "post_activity_log_events_q"},
	{BeatExchange, KeyActivities, true, "sentiment_analysis_q"},
	{BeatExchange, KeySentiment, true, "sentiment_log_events_q"},
	{BeatExchange, KeyOrder, true, "order_log_events_q"},
	{BeatExchange, KeyChannelActivity, false, ""},
	{BeatExchange, KeySubscription, false, ""},
	{CoffeeExchange, KeyKeywordReport, true, "keyword_collection_out_q"},
	{CoffeeExchange, KeySentimentReport, true, "sentiment_collection_report_out_q"},
	{IdentityExchange, KeyTrace, false, "trace_log"},
}

// exchanges is the order in which the groups of a batch are published. They
// are published apart because a missing exchange costs the channel.
var exchanges = []string{BeatExchange, CoffeeExchange, IdentityExchange}

// keyIndex is the row of a message, -1 when beat publishes no such key.
func keyIndex(exchange, key string) int {
	for i := range Keys {
		if Keys[i].Key == key && Keys[i].Exchange == exchange {
			return i
		}
	}
	return -1
}
