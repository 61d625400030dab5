//go:build hello_http

package main

import _ "net/http" // as in apmon-send, which fetches configurations
