// Package objects keeps bytes under names in a bucket of S3, or of anything that
// speaks its protocol. It retries nothing: each caller knows how long its work
// may wait.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Errors that no second try changes.
var (
	ErrNotFound = errors.New("no such object")
	ErrShort    = errors.New("the object is shorter") // than the range that was asked for
)

// Config says where the bucket is. A zero field means its default.
type Config struct {
	Bucket   string // required
	Endpoint string // URL of the server; default AWS's own of the region
	Region   string // default what the environment says (AWS_REGION), else us-east-1
	Prefix   string // in front of every name; as a folder, with or without a slash at its end
	// HostStyle has the bucket in the host name also at an Endpoint of one's
	// own; default in the path there, which all servers understand.
	HostStyle bool
	// AccessKey and SecretKey are who we are; default what the environment says
	// (AWS_ACCESS_KEY_ID or AWS_ACCESS_KEY, a profile, the role of the machine).
	AccessKey, SecretKey string
	Timeout              time.Duration // of one request; default 30s
}

// A Store is a bucket, or the part of it below a prefix. It is safe for
// concurrent use.
type Store struct {
	c       *s3.Client
	bucket  string
	prefix  string
	timeout time.Duration
}

// Open returns the Store. It sends nothing to the bucket; see Check.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("objects: no bucket")
	}
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("objects: endpoint: want an http or https URL")
		}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 32 // readers fetch in parallel
		t.IdleConnTimeout = 30 * time.Second
		t.ResponseHeaderTimeout = 20 * time.Second
	})
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(client)}
	if cfg.Region != "" {
		load = append(load, config.WithRegion(cfg.Region))
	}
	if cfg.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, "")))
	}
	ac, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("objects: configuration of the environment: %w", reason(err))
	}
	if ac.Region == "" {
		ac.Region = "us-east-1"
	}
	c := s3.NewFromConfig(ac, func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{}
		// What the contents must be, the caller knows by its own hash. Servers
		// other than AWS stumble over the client's newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
			o.UsePathStyle = !cfg.HostStyle
		}
	})
	prefix := strings.Trim(cfg.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &Store{c: c, bucket: cfg.Bucket, prefix: prefix, timeout: cfg.Timeout}, nil
}

// Bucket is the name of the bucket and the prefix within it.
func (s *Store) Bucket() string { return s.bucket + "/" + s.prefix }

// Put stores data under key, in place of what was there.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.key(key), Body: bytes.NewReader(data)})
	return failed("put", key, err)
}

// Get returns the object.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	return s.get(ctx, key, nil, -1)
}

// Range returns n bytes of the object from off on, or ErrShort.
func (s *Store) Range(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	return s.get(ctx, key, aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)), n)
}

func (s *Store) get(ctx context.Context, key string, span *string, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	o, err := s.c.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key), Range: span})
	if err != nil {
		return nil, failed("get", key, err)
	}
	defer o.Body.Close()
	size := aws.ToInt64(o.ContentLength)
	if n >= 0 && size != n {
		return nil, fmt.Errorf("objects: get %s: %d bytes instead of %d: %w", key, size, n, ErrShort)
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(min(size, 64<<20), 0)+bytes.MinRead))
	if _, err := io.Copy(buf, o.Body); err != nil {
		return nil, failed("get", key, err)
	}
	if o.ContentLength != nil && int64(buf.Len()) != size {
		return nil, fmt.Errorf("objects: get %s: cut off after %d of %d bytes", key, buf.Len(), size)
	}
	return buf.Bytes(), nil
}

// Size is the length of the object.
func (s *Store) Size(ctx context.Context, key string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	o, err := s.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err != nil {
		return 0, failed("head", key, err)
	}
	return aws.ToInt64(o.ContentLength), nil
}

// Delete removes the object. One that is not there is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err = failed("delete", key, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// List goes through the names that begin with prefix, in their order.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return s.list(ctx, prefix, nil)
}

// Folders goes through what follows prefix up to the next slash, each once, with
// the prefix and without the slash.
func (s *Store) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return s.list(ctx, prefix, aws.String("/"))
}

func (s *Store) list(ctx context.Context, prefix string, delimiter *string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var token *string
		for {
			page, err := s.page(ctx, prefix, delimiter, token)
			if err != nil {
				yield("", failed("list", prefix, err))
				return
			}
			if delimiter != nil {
				for _, p := range page.CommonPrefixes {
					if !yield(strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), s.prefix), *delimiter), nil) {
						return
					}
				}
			} else {
				for _, o := range page.Contents {
					if !yield(strings.TrimPrefix(aws.ToString(o.Key), s.prefix), nil) {
						return
					}
				}
			}
			if token = page.NextContinuationToken; token == nil || !aws.ToBool(page.IsTruncated) {
				return
			}
		}
	}
}

func (s *Store) page(ctx context.Context, prefix string, delimiter, token *string) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix), Delimiter: delimiter, ContinuationToken: token})
}

// Check reports whether the bucket is there and lets us in.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	return failed("bucket", s.bucket, err)
}

// MakeBucket makes the bucket, for a server of one's own.
func (s *Store) MakeBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.bucket})
	var mine *types.BucketAlreadyOwnedByYou
	var there *types.BucketAlreadyExists
	if errors.As(err, &mine) || errors.As(err, &there) {
		return nil
	}
	return failed("make bucket", s.bucket, err)
}

func (s *Store) key(name string) *string { return aws.String(s.prefix + name) }

// failed says what could not be done, in a line: the client's own text repeats
// the whole request.
func failed(what, key string, err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound":
			return fmt.Errorf("objects: %s %s: %w", what, key, ErrNotFound)
		case "InvalidRange":
			return fmt.Errorf("objects: %s %s: %w", what, key, ErrShort)
		}
	}
	return fmt.Errorf("objects: %s %s: %w", what, key, reason(err))
}

// reason is the cause within what the client tells.
func reason(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		if api.ErrorMessage() == "" {
			return errors.New(api.ErrorCode())
		}
		return fmt.Errorf("%s: %s", api.ErrorCode(), strings.Join(strings.Fields(api.ErrorMessage()), " "))
	}
	var u *url.Error // it repeats the URL
	if errors.As(err, &u) {
		return u.Err
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
