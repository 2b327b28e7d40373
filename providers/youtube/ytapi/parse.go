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
var (
	channelMetrics = doc.NewTable(
		doc.Row{Key: "video_count", Path: "statistics.videoCount", Conv: doc.Int},
		doc.Row{Key: "subscriber_count", Path: "statistics.subscriberCount", Conv: doc.Int}, // absent when hidden
		doc.Row{Key: "hidden_subscriber_count", Path: "statistics.hiddenSubscriberCount", Conv: doc.Int},
		doc.Row{Key: "view_count", Path: "statistics.viewCount", Conv: doc.Int},
	)
	channelDimensions = doc.NewTable(
		doc.Row{Key: "title", Path: "snippet.title"},
		doc.Row{Key: "description", Path: "snippet.description"},
		doc.Row{Key: "custom_url", Path: "snippet.customUrl"},
		doc.Row{Key: "taken_at_timestamp", Path: "snippet.publishedAt", Conv: doc.Soft(doc.EpochRFC)},
		doc.Row{Key: "thumbnails", Path: "snippet.thumbnails", Conv: doc.Soft(doc.JSON)},
		doc.Row{Key: "thumbnail", Path: "snippet.thumbnails.default.url"},
		doc.Row{Key: "country", Path: "snippet.country"},
		doc.Row{Key: "uploads_playlist_id", Path: "contentDetails.relatedPlaylists.uploads"},
	)
)

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
	id, err := n.NeedText("id")
	if err != nil {
		return social.Log{}, err
	}
	metrics, err := channelMetrics.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	dimensions, err := channelDimensions.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Profile, Key: id, Source: logSource, Dimensions: dimensions, Metrics: metrics}, nil
}
