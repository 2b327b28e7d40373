package ytapi

import (
	"fmt"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before. Older answers are then parsed again.
const parserVersion = 1

// 4.1. Root: one of items.
//
// The contract calls snippet, contentDetails and statistics required. They
// are soft here: an answer that was asked for fewer parts still names its
// channels, and an absent value never wipes a stored one. So is publishedAt;
// but when it is there, it has to be a time. Absent thumbnails are null and
// not the text null (shared/decisions.md 20).
var channelTable = doc.NewTable([]doc.Row{
	{Key: "video_count", Path: "statistics.videoCount", Conv: doc.Int},
	{Key: "subscriber_count", Path: "statistics.subscriberCount", Conv: doc.Int}, // absent when hidden
	{Key: "hidden_subscriber_count", Path: "statistics.hiddenSubscriberCount", Conv: doc.Int},
	{Key: "view_count", Path: "statistics.viewCount", Conv: doc.Int},
}, []doc.Row{
	{Key: "title", Path: "snippet.title"},
	{Key: "description", Path: "snippet.description"},
	{Key: "custom_url", Path: "snippet.customUrl"},
	{Key: "taken_at_timestamp", Path: "snippet.publishedAt", Conv: doc.Soft(doc.EpochRFC)},
	{Key: "thumbnails", Path: "snippet.thumbnails", Conv: doc.Soft(doc.JSON)},
	{Key: "thumbnail", Path: "snippet.thumbnails.default.url"},
	{Key: "country", Path: "snippet.country"},
	{Key: "uploads_playlist_id", Path: "contentDetails.relatedPlaylists.uploads"},
}, "id")

// parseChannels reads one log per channel, in the order of the answer. Ids
// that YouTube does not know are not in it.
//
// Counts are absolute, times Unix seconds. A channel that cannot be read
// fails the whole answer.
func parseChannels(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	path, items := "items", root.List() // a bare list, see judge
	if !root.IsList() {
		if items, err = root.NeedList(path); err != nil {
			return social.Batch{}, err
		}
	}
	logs := make([]social.Log, 0, len(items))
	for i, n := range items {
		l, err := readChannel(n)
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("%s.%d", path, i), err)
		}
		logs = append(logs, l)
	}
	return social.Batch{Logs: logs}, nil
}

func readChannel(n doc.Node) (social.Log, *providers.Error) {
	got, err := channelTable.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	id, err := got.PickText("id")
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Profile, Key: id, Source: logSource, Dimensions: got.Dimensions, Metrics: got.Metrics}, nil
}
