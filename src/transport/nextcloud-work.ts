import type { Work } from '../watchers.js'

/** The methods of HTTP, WebDAV and CalDAV (RFC 9110, 5789, 4918, 3253, 3744, 4791, 5323). Others are the caller's own words. */
const METHODS =
  /^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|REPORT|ACL|MKCALENDAR|SEARCH)$/

/** Describes a request to Nextcloud to whoever watches it. */
export function nextcloudRequest(at: string, method: string): Work<Response> {
  return {
    name: 'nextcloud.request',
    at,
    attributes: { 'http.request.method': METHODS.test(method) ? method : '_OTHER' },
    told: ({ status }) => ({
      'http.response.status_code': status,
      ...(status >= 400 && { 'error.type': String(status) }),
    }),
  }
}
