/* Bar and lines. */
#include "progress.h"

#include "log.h"
#include "units.h"

#include <string.h>

void wb_progress_start(wb_progress *progress, int64_t done, int64_t total, int64_t batch) {
    const double now = wb_now();
    *progress = (wb_progress){
        .total = total, .first = done, .batch = batch, .started = now, .last_line = now};
}

static void draw_bar(const wb_progress *p, int64_t step, const wb_step_report *report,
                     double elapsed, const char *left) {
    enum { WIDTH = 24 };
    char bar[WIDTH + 1], line[256];
    const int64_t filled = step * WIDTH / p->total;
    memset(bar, ' ', WIDTH);
    memset(bar, '=', (size_t)filled);
    bar[WIDTH] = '\0';
    (void)snprintf(line, sizeof(line),
                   "[%s] %lld/%lld  loss %.4f  %.1f pairs/s  %s tokens/s  %s left", bar,
                   (long long)step, (long long)p->total, report->loss, (double)p->pairs / elapsed,
                   wb_count_text((int64_t)((double)p->tokens / elapsed)).text, left);
    wb_log_bar(line);
}

void wb_progress_step(wb_progress *p, int64_t step, const wb_step_report *report) {
    const double now = wb_now(), elapsed = now - p->started;
    p->pairs += p->batch;
    p->tokens += report->tokens;
    const double left = elapsed / (double)(step - p->first) * (double)(p->total - step);
    const wb_text_number left_text = wb_seconds_text(left);
    const bool edge = step == p->first + 1 || step == p->total;
    if (edge || now - p->last_line >= 10.0) {
        const bool more = step < p->total;
        p->last_line = now;
        wb_log(WB_LOG_RUN,
               "step %lld/%lld  loss %.4f  lr %.3g  gradient %.3g  %.1f pairs/s  %s tokens/s%s%s%s",
               (long long)step, (long long)p->total, report->loss, report->rate,
               report->gradient_norm, (double)p->pairs / elapsed,
               wb_count_text((int64_t)((double)p->tokens / elapsed)).text, more ? "  " : "",
               more ? left_text.text : "", more ? " left" : "");
    }
    if (wb_log_has_bar() && step < p->total && now - p->last_bar >= 0.1) {
        p->last_bar = now;
        draw_bar(p, step, report, elapsed, left_text.text);
    }
}
