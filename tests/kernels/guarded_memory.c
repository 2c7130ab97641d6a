/* Memory of PyTorch's tensors and of oneDNN's buffers holds NaN at first, and ends at a page that nobody may touch: who
   reads behind it dies, and who computes with what nobody wrote gets NaN. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define SPACE (1UL << 38)

static char *space, *next;

int posix_memalign(void **found, size_t alignment, size_t size) {
    if (size < PAGE) {
        int (*usual)(void **, size_t, size_t) = dlsym(RTLD_NEXT, "posix_memalign");
        return usual(found, alignment, size);
    }
    if (!space)
        next = space = mmap(0, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t rounded = (size + 63) & ~63UL, pages = (rounded + PAGE - 1) & ~(PAGE - 1);
    char *start = __sync_fetch_and_add(&next, pages + PAGE);
    if (mprotect(start, pages, PROT_READ | PROT_WRITE))
        return 12;
    memset(start, 0xFF, pages);
    *found = start + pages - rounded;
    return 0;
}

void free(void *given) {
    static void (*usual)(void *);
    if (!usual)
        usual = dlsym(RTLD_NEXT, "free");
    if (!space || (char *)given < space || (char *)given >= space + SPACE)
        usual(given);
}
