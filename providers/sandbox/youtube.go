package sandbox

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"beat/streams/social"
)

var youtubeRoutes = []route{
	{"/youtube/v3/channels", "", "", social.ChannelsByIDs, (*Sandbox).channels, "items", `{"0":"youtube#channel"}`},
	{"/channels", "", "", social.ChannelsByIDs, (*Sandbox).channels, "items", `{"0":"youtube#channel"}`},
}

// channels answers channels.list by id.
func (s *Sandbox) channels(c call, b []byte) answer {
	q := c.q
	part := q.Get("part")
	if part == "" {
		return ytError(b, http.StatusBadRequest, "No part selected", "youtube.parameter", "missingRequiredParameter")
	}
	list := q.Get("id")
	if list == "" {
		return ytError(b, http.StatusBadRequest, "No filter selected. Expected one of: managedByMe, id, forUsername, mySubscribers, mine, categoryId",
			"youtube.parameter", "missingRequiredParameter")
	}
	if strings.Count(list, ",") >= 50 {
		return ytError(b, http.StatusBadRequest, "The request specifies an invalid filter parameter.", "youtube.parameter", "invalidFilters")
	}
	var parts partSet
	for p := range strings.SplitSeq(part, ",") {
		parts |= partNames[strings.TrimSpace(p)]
	}
	hour := s.world.hour()
	start := len(b)
	b = s.appendNoise(append(b, `{"kind":"youtube#channelListResponse","etag":"`...), hashText(list)+uint64(hour), 27)
	b = append(b, `","pageInfo":{"totalResults":`...)
	// The count is known only after the items, and 00 is no JSON number.
	count := len(b)
	b = append(b, `00,"resultsPerPage":5},"items":[`...)
	n := 0
	ids := strings.Split(list, ",")
	for i, id := range ids {
		if id = strings.TrimSpace(id); slices.Contains(ids[:i], id) {
			continue
		}
		was := len(b)
		if raw := s.real.of[ytChannels][id]; raw != nil {
			b = append(b, raw...)
		} else {
			b = s.appendChannel(b, id, parts, hour)
		}
		if len(b) > was {
			b = append(b, ',')
			n++
		}
	}
	if n == 0 { // items is left out then
		return answer{http.StatusOK, append(b[:start], `{"kind":"youtube#channelListResponse","etag":"EsLmBV5WlNI_7ifNNSva2Iuut94","pageInfo":{"resultsPerPage":0}}`...), built}
	}
	b = append(b[:len(b)-1], `]}`...)
	if n < 10 {
		b[count], b[count+1] = ' ', '0'+byte(n)
	} else {
		b[count], b[count+1] = '0'+byte(n/10), '0'+byte(n%10)
	}
	return answer{http.StatusOK, b, built}
}

type partSet int

const (
	snippet partSet = 1 << iota
	contentDetails
	statistics
)

var partNames = map[string]partSet{"snippet": snippet, "contentDetails": contentDetails, "statistics": statistics}

// appendChannel appends the channel of an id, nothing when there is none.
func (s *Sandbox) appendChannel(b []byte, id string, parts partSet, hour int64) []byte {
	if !strings.HasPrefix(id, "UC") || strings.Contains(id, "missing") {
		return b
	}
	for i := range len(id) {
		if strings.IndexByte(alphabet, id[i]) < 0 || i >= 64 {
			return b
		}
	}
	c := account{handle: "channel", seed: hashText(id)}
	b = s.appendNoise(append(b, `{"kind":"youtube#channel","etag":"`...), c.seed, 27)
	b = append(append(b, `","id":"`...), id...)
	b = append(b, '"')
	if parts&snippet != 0 {
		b = s.words.appendName(append(b, `,"snippet":{"title":`...), c, false)
		b = append(b, `,"description":"`...)
		l := s.words.langs[c.between(14, 0, uint64(len(s.words.langs)-1))]
		for i := range c.between(15, 1, 6) {
			b = append(append(b, pick(l.opens, c.seed>>i).utf8...), ' ')
			b = append(append(b, pick(l.mids, c.seed>>(i+5)).utf8...), `.\n\n`...)
		}
		b = appendUint(b, `","customUrl":"@channel`, c.seed%1_000_000_000)
		at := time.Unix(int64(c.between(16, 1_120_000_000, 1_690_000_000)), int64(c.between(17, 0, 999))*1e6).UTC()
		b = at.AppendFormat(append(b, `","publishedAt":"`...), "2006-01-02T15:04:05.000Z")
		b = append(b, `","thumbnails":{`...)
		for _, t := range [...]struct{ name, size string }{{"default", "88"}, {"medium", "240"}, {"high", "800"}} {
			b = append(append(append(b, '"'), t.name...), `":{"url":"https://yt3.ggpht.example.net/ytc/`...)
			b = append(append(s.appendNoise(b, c.seed>>7, 44), `=s`...), t.size...)
			b = append(append(b, `-c-k-c0x00ffffff-no-rj","width":`...), t.size...)
			b = append(append(append(b, `,"height":`...), t.size...), `},`...)
		}
		b = s.words.appendName(append(b[:len(b)-1], `},"localized":{"title":`...), c, false)
		b = append(append(b, `,"description":"`...), pick(l.opens, c.seed).utf8...)
		b = append(b, `"}`...)
		if co := countries[c.between(18, 0, uint64(len(countries)-1))]; co != "" {
			b = append(append(append(b, `,"country":"`...), co...), '"')
		}
		b = append(b, '}')
	}
	if parts&contentDetails != 0 {
		b = append(append(b, `,"contentDetails":{"relatedPlaylists":{"likes":"","uploads":"UU`...), id[2:]...)
		b = append(b, `"}}`...)
	}
	if parts&statistics != 0 {
		hidden := strings.Contains(id, "hidden")
		f := c.followers(hour)
		b = appendUint(b, `,"statistics":{"viewCount":"`, f*c.between(19, 20, 400))
		if !hidden {
			b = appendUint(b, `","subscriberCount":"`, f)
		}
		b = strconv.AppendBool(append(b, `","hiddenSubscriberCount":`...), hidden)
		b = appendUint(b, `,"videoCount":"`, c.between(20, 3, 4000))
		b = append(b, `"}`...)
	}
	return append(b, '}')
}

var countries = []string{"IN", "US", "BR", "JP", "ID", "ES", "DE", ""}
