// SPDX-License-Identifier: BSD-2-Clause
// Everything in use is cut out of the map before a single frame is handed out: GRUB puts modules
// low. The loader is trusted, but not to have made no mistake: every length is bounded.
#include "kernel/arch/x86/multiboot.h"
#include "kernel/core/arch.h"

#define MULTIBOOT2_MAGIC 0x36d76289u
#define INFO_MAX (1u << 20)
#define RAM_MAX  (1ull << 44) // frames have 32-bit numbers

enum { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_MODULE = 3, TAG_MMAP = 6, TAG_FRAMEBUFFER = 8,
       TAG_OLD_RSDP = 14, TAG_NEW_RSDP = 15 };

struct tag { uint32_t type, size; };
struct tag_module { struct tag tag; uint32_t start, end; char name[]; };
struct tag_mmap { struct tag tag; uint32_t entry_size, version; };
struct mmap_entry { uint64_t base, length; uint32_t type, reserved; };
struct tag_framebuffer {
    struct tag tag;
    uint64_t base;
    uint32_t pitch, width, height;
    uint8_t bits, type;
    uint16_t reserved;
    struct { uint8_t at, bits; } colour[3]; // red, green, blue; not there in text mode
};
enum { FRAMEBUFFER_RGB = 1, FRAMEBUFFER_TEXT = 2 };
#define SCREEN_SIDE 16384u
#define USABLE 1 // other types, known or not: reserved

struct boot_memory boot_memory;

// A map may have overlaps; what is usable is so only where nothing else is said.
static void read_map(const struct tag_mmap *t, bool usable)
{
    if (!t || t->tag.size < sizeof(*t) || t->entry_size < sizeof(struct mmap_entry))
        return;
    const uint8_t *p = (const uint8_t *)(t + 1), *end = (const uint8_t *)t + t->tag.size;
    uint32_t size = t->entry_size;
    for (; size <= (uint64_t)(end - p); p += size) {
        struct mmap_entry e;
        __builtin_memcpy(&e, p, sizeof(e));
        if ((e.type == USABLE) != usable || e.base >= RAM_MAX)
            continue;
        uint64_t stop = e.base + min_u64(e.length, RAM_MAX - e.base);
        if (usable)
            memmap_add(&boot_memory.usable, e.base, stop);
        else
            memmap_cut(&boot_memory.usable, e.base, stop);
    }
}

// What is there is used as it is, or not at all: then the serial line alone has the log.
static const char *read_screen(const struct tag_framebuffer *t, struct boot_screen *s)
{
    bool text = t->tag.size >= offsetof(struct tag_framebuffer, colour) &&
                t->type == FRAMEBUFFER_TEXT;
    bool usable = text || (t->tag.size >= sizeof(*t) - 2 && t->type == FRAMEBUFFER_RGB &&
                           t->bits == 32);
    for (unsigned i = 0; i < ARRAY_SIZE(t->colour) && usable && !text; i++)
        usable = t->colour[i].bits == 8 && t->colour[i].at <= 24;
    if (!usable)
        return "it has neither text nor pixels of 32 bits, 8 for a colour";
    uint64_t end = t->base + (uint64_t)t->pitch * t->height;
    if (t->width < 8 || t->width > SCREEN_SIDE || t->height < 16 || t->height > SCREEN_SIDE ||
        t->pitch < t->width * (text ? 2 : 4) || t->pitch > SCREEN_SIDE * 8 || t->pitch % 4 ||
        t->base % PAGE_SIZE || t->base >= RAM_MAX || memmap_has(&boot_memory.usable, t->base, end))
        return "it cannot be where the loader says";
    *s = (struct boot_screen){ .hpa = t->base, .pitch = t->pitch, .width = t->width,
                               .height = t->height, .text = text };
    for (unsigned i = 0; i < ARRAY_SIZE(s->colour) && !text; i++)
        s->colour[i] = t->colour[i].at;
    return NULL;
}

static bool ends_in_nul(const struct tag *t, uint32_t from)
{
    return t->size > from && ((const char *)t)[t->size - 1] == 0;
}

// GRUB puts double quotes around an argument with a blank, and a backslash before each quote,
// apostrophe and backslash: both are taken off again.
static bool unquote(char *name, uint32_t size, const char *from)
{
    uint32_t used = 0;
    for (; *from && used < size - 1; from++) {
        if (*from == '"')
            continue;
        if (*from == '\\' && from[1])
            from++;
        name[used++] = *from;
    }
    return !*from || (*from == '"' && !from[1]);
}

static void add_option(struct boot_info *info, const char *word)
{
    uint32_t used = 0;
    while (info->options[used])
        used++;
    for (; *word && used < BOOT_OPTIONS_MAX - 2; word++)
        info->options[used++] = *word;
    if (used < BOOT_OPTIONS_MAX - 1)
        info->options[used] = ' ';
}

static void read_module(const struct tag_module *t, struct boot_facts *facts)
{
    if (!ends_in_nul(&t->tag, sizeof(*t)) || t->end < t->start) {
        log_print("boot: a module's tag is damaged: it is left out\n");
        return;
    }
    if (facts->info.modules == BOOT_MODULE_MAX) {
        log_print("boot: more than %u modules: '%s' is left out\n", BOOT_MODULE_MAX, t->name);
        return;
    }
    facts->module[facts->info.modules] = HPA(t->start);
    struct boot_module *m = &facts->info.module[facts->info.modules++]; // all zeros
    if (!unquote(m->name, sizeof(m->name), t->name))
        log_print("boot: the module name %s is too long\n", t->name);
    m->bytes = t->end - t->start;
    if (__builtin_memcmp(m->name, "option:", 7) == 0)
        add_option(&facts->info, m->name + 7);
}

static void read_tag(const struct tag *t, struct boot_facts *facts)
{
    switch (t->type) {
    case TAG_MMAP:
        boot_memory.map = t;
        break;
    case TAG_FRAMEBUFFER:
        boot_memory.screen = t;
        break;
    case TAG_MODULE:
        read_module((const struct tag_module *)t, facts);
        break;
    case TAG_COMMAND_LINE:
        if (ends_in_nul(t, sizeof(*t)))
            add_option(&facts->info, (const char *)(t + 1));
        break;
    case TAG_OLD_RSDP: // 20 bytes of it
        if (boot_memory.rsdp)
            break;
        // fall through
    case TAG_NEW_RSDP:
        boot_memory.rsdp = t + 1;
        boot_memory.rsdp_bytes = t->size - (uint32_t)sizeof(*t);
        break;
    }
}

static void read_tags(const uint8_t *base, uint32_t total, struct boot_facts *facts)
{
    const struct tag *t;
    for (uint64_t at = 8; at + sizeof(*t) <= total; at += align_up(t->size, 8)) {
        t = (const struct tag *)(base + at);
        if (t->type == TAG_END || t->size < sizeof(*t) || t->size > total - at)
            break;
        read_tag(t, facts);
    }
}

const char *multiboot_parse(uint32_t magic, uint32_t info, struct ram_range image,
                            struct boot_facts *facts)
{
    struct memmap *m = &boot_memory.usable;
    __builtin_memset(&boot_memory, 0, sizeof(boot_memory));
    if (magic != MULTIBOOT2_MAGIC)
        return "not started by a Multiboot2 loader";
    const uint8_t *base = arch_ptr(HPA(info));
    uint32_t total = *(const uint32_t *)base;
    if (total < 8 || total > INFO_MAX || total > UINT32_MAX - info)
        return "the boot information has no sensible length";
    read_tags(base, total, facts);
    read_map(boot_memory.map, true);
    read_map(boot_memory.map, false);
    for (uint32_t i = 0; i < m->count; i++)
        facts->info.ram += m->range[i].end - m->range[i].base;
    const char *unseen = boot_memory.screen ? read_screen(boot_memory.screen, &facts->info.screen)
                                            : NULL;
    if (unseen)
        log_print("boot: the screen is not used: %s\n", unseen);
    memmap_cut(m, info, info + total);
    for (uint32_t i = 0; i < facts->info.modules; i++)
        memmap_cut(m, facts->module[i].v, facts->module[i].v + facts->info.module[i].bytes);
    boot_memory.trampoline = memmap_last_page(m, 0x1000, 0x9f000);
    memmap_cut(m, 0, 1u << 20); // real-mode data, EBDA, the trampoline: not worth handing out
    memmap_cut(m, image.base, image.end);
    if (m->lost)
        log_print("boot: the memory map has too many pieces: %lu KB in small ones are not used\n",
                  m->lost >> 10);
    return m->count ? NULL : "the loader gives no memory";
}
