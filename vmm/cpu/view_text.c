// SPDX-License-Identifier: BSD-2-Clause
//
// A view as text. Keeps no state; any thread, on a view that nobody changes.
#include "vmm/cpu/view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CR0_PE        1ull
#define EFER_LMA      (1ull << 10)
#define RFLAGS_VM     (1ull << 17)
#define CS_LONG       (1u << 13)
#define CS_BIG        (1u << 14)
#define SEGMENT_NONE  (1u << 8)
#define ACCESS_DPL(a) ((a) >> 5 & 3)

struct text {
    char *start, *at;
    unsigned lines;
};

// One line, cut where it is too long.
static __attribute__((format(printf, 2, 3))) void line(struct text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text->at, VIEW_COLUMNS + 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        length = 0;
    else if (length > (int)VIEW_COLUMNS)
        length = VIEW_COLUMNS;
    while (length > 0 && text->at[length - 1] == ' ')
        length--;
    text->at += length;
    *text->at++ = '\n';
    *text->at = '\0';
    text->lines++;
}

// In one line or in two, broken at a blank.
static void why_lines(struct text *text, const char *why)
{
    size_t part = strlen(why);

    if (part > VIEW_COLUMNS) {
        for (part = VIEW_COLUMNS; part > 0 && why[part] != ' '; part--) {
        }
        part = part == 0 ? VIEW_COLUMNS : part;
    }
    line(text, "%.*s", (int)part, why);
    why += part + (why[part] == ' ');
    if (*why != '\0')
        line(text, "  %s", why);
}

static const char *state_name(enum view_state state)
{
    static const char *const names[] = {
        [VIEW_RUNNING] = "running", [VIEW_HLT] = "HLT", [VIEW_HALTED] = "HLT, interrupts off",
        [VIEW_WAITING] = "waits for start-up IPI",
    };

    return names[state];
}

static const char *mode_name(const struct vcpu_sregs *s)
{
    if ((s->cr0 & CR0_PE) == 0)
        return "real mode";
    if ((s->rflags & RFLAGS_VM) != 0)
        return "virtual-8086 mode";
    if ((s->efer & EFER_LMA) != 0 && (s->cs.access & CS_LONG) != 0)
        return "64-bit code";
    return s->cs.access & CS_BIG ? "32-bit code" : "16-bit code";
}

// Adds a blank and the name, if there is room for all of it.
static size_t add_name(char *text, size_t used, size_t size, const char *name)
{
    const size_t length = strlen(name);

    if (used + 1 + length >= size)
        return used;
    text[used] = ' ';
    memcpy(text + used + 1, name, length + 1);
    return used + 1 + length;
}

// The flags that are set, those of each day first.
static void flag_names(uint64_t rflags, char *text, size_t used, size_t size)
{
    static const struct { unsigned bit; const char *name; } flags[] = {
        { 0, "CF" }, { 2, "PF" }, { 4, "AF" }, { 6, "ZF" }, { 7, "SF" }, { 8, "TF" }, { 9, "IF" },
        { 10, "DF" }, { 11, "OF" }, { 14, "NT" }, { 16, "RF" }, { 17, "VM" }, { 18, "AC" },
        { 19, "VIF" }, { 20, "VIP" }, { 21, "ID" },
    };
    static const char *const iopl[] = { "", "IOPL1", "IOPL2", "IOPL3" };

    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if ((rflags >> flags[i].bit & 1) != 0)
            used = add_name(text, used, size, flags[i].name);
    }
    if ((rflags >> 12 & 3) != 0)
        add_name(text, used, size, iopl[rflags >> 12 & 3]);
}

static void state_line(struct text *text, const struct view *view)
{
    const struct vcpu_sregs *s = &view->sregs;
    char all[VIEW_COLUMNS + 1], event[24] = "";
    size_t used;

    if ((view->entry_flags & VM_ENTRY_FAULT) != 0)
        snprintf(event, sizeof(event), "(gets fault %u)", view->fault);
    else if ((view->entry_flags & VM_ENTRY_INTR) != 0)
        snprintf(event, sizeof(event), "(gets vector %x)", view->intr);
    snprintf(all, sizeof(all), "vcpu %u: %s, %s, cpl %u, rflags=%08" PRIx64, view->id,
             state_name(view->state), mode_name(s), (unsigned)ACCESS_DPL(s->ss.access), s->rflags);
    used = strlen(all);
    if (event[0] != '\0')
        used = add_name(all, used, sizeof(all), event);
    flag_names(s->rflags, all, used, sizeof(all));
    line(text, "%s", all);
}

static void general_lines(struct text *text, const struct view *view)
{
    static const struct { const char *name; unsigned gpr; } order[] = {
        { "rax", GPR_RAX }, { "rbx", GPR_RBX }, { "rcx", GPR_RCX }, { "rdx", GPR_RDX },
        { "rsi", GPR_RSI }, { "rdi", GPR_RDI }, { "rbp", GPR_RBP }, { "rsp", GPR_RSP },
        { "r8 ", GPR_R8 },  { "r9 ", GPR_R9 },  { "r10", GPR_R10 }, { "r11", GPR_R11 },
        { "r12", GPR_R12 }, { "r13", GPR_R13 }, { "r14", GPR_R14 }, { "r15", GPR_R15 },
    };
    const struct vcpu_sregs *s = &view->sregs;
    uint64_t gpr[16];

    memcpy(gpr, view->gpr, sizeof(gpr));
    gpr[GPR_RSP] = s->rsp;
    for (unsigned i = 0; i < 15; i += 3) {
        line(text, "%s=%016" PRIx64 " %s=%016" PRIx64 " %s=%016" PRIx64, order[i].name,
             gpr[order[i].gpr], order[i + 1].name, gpr[order[i + 1].gpr], order[i + 2].name,
             gpr[order[i + 2].gpr]);
    }
    line(text, "r15=%016" PRIx64 " rip=%016" PRIx64 " cr3=%016" PRIx64, gpr[GPR_R15], s->rip,
         s->cr3);
}

struct access { char text[5]; };

static struct access access_of(const struct vm_segment *segment)
{
    struct access access = { "----" };

    if ((segment->access & SEGMENT_NONE) == 0)
        snprintf(access.text, sizeof(access.text), "%04x", segment->access);
    return access;
}

// Two that have bases of 32 bits, and a control register, of which no more are defined.
static void segment_pair(struct text *text, const char *a_name, const struct vm_segment *a,
                         const char *b_name, const struct vm_segment *b, const char *cr_name,
                         uint64_t cr)
{
    line(text, "%s %04x %08" PRIx32 " %08" PRIx32 " %s %s %04x %08" PRIx32 " %08" PRIx32
         " %s %s=%08" PRIx32, a_name, a->selector, (uint32_t)a->base, a->limit,
         access_of(a).text, b_name, b->selector, (uint32_t)b->base, b->limit, access_of(b).text,
         cr_name, (uint32_t)cr);
}

static void segment_lines(struct text *text, const struct vcpu_sregs *s)
{
#define SEGMENT "%s %04x %016" PRIx64 " %08" PRIx32 " %s "
#define NUMBERS(s) (s).selector, (s).base, (s).limit, access_of(&(s)).text
    segment_pair(text, "cs", &s->cs, "ss", &s->ss, "cr0", s->cr0);
    segment_pair(text, "ds", &s->ds, "es", &s->es, "cr4", s->cr4);
    line(text, SEGMENT "cr2=%016" PRIx64 " efer=%04" PRIx64, "fs  ", NUMBERS(s->fs), s->cr2,
         s->efer);
    line(text, SEGMENT "dr6=%08" PRIx64 " dr7=%08" PRIx64, "gs  ", NUMBERS(s->gs), s->dr6, s->dr7);
    line(text, SEGMENT "gdtr=%016" PRIx64 ":%04" PRIx32, "tr  ", NUMBERS(s->tr), s->gdtr_base,
         s->gdtr_limit);
    line(text, SEGMENT "idtr=%016" PRIx64 ":%04" PRIx32, "ldtr", NUMBERS(s->ldtr), s->idtr_base,
         s->idtr_limit);
#undef NUMBERS
#undef SEGMENT
}

struct vector { char text[3]; };

static struct vector vector_of(int number)
{
    struct vector vector = { "--" };

    if (number >= 0)
        snprintf(vector.text, sizeof(vector.text), "%02x", (unsigned)number & 0xFF);
    return vector;
}

static void lapic_line(struct text *text, const struct view_lapic *a)
{
    if (!a->seen)
        line(text, "apic in x2APIC mode or off, where only the kernel sees it");
    else
        line(text, "apic tpr=%02" PRIx32 " svr=%03" PRIx32 " lint0=%05" PRIx32 " lvtt=%05" PRIx32
             " tmcct=%08" PRIx32 " irr=%s isr=%s", a->tpr, a->svr, a->lint0, a->timer, a->current,
             vector_of(a->irr).text, vector_of(a->isr).text);
}

static void code_line(struct text *text, const struct view *view)
{
    char bytes[VIEW_CODE * 3 + 3];
    size_t used = 0;

    if (view->no_code != NULL) {
        line(text, "code %s; last exits:", view->no_code);
        return;
    }
    for (unsigned i = 0; i < VIEW_CODE; i++) {
        char *at = bytes + used;
        const size_t size = sizeof(bytes) - used;
        const unsigned byte = (unsigned)view->code[i] & 0xFF;
        if (view->code[i] < 0)
            used += (size_t)snprintf(at, size, " ??");
        else if (i == VIEW_CODE_BEFORE)
            used += (size_t)snprintf(at, size, " <%02x>", byte);
        else
            used += (size_t)snprintf(at, size, " %02x", byte);
    }
    line(text, "code%s; last exits:", bytes);
}

static void exit_lines(struct text *text, const struct view *view)
{
    char cell[EXIT_RING][EXIT_WORDS + 1];
    unsigned count = 0;

    for (unsigned i = 0; i < EXIT_RING; i++)
        count += exit_ring_words(&view->exits, i, view->tsc, cell[count]);
    if (count == 0)
        line(text, "none yet");
    for (unsigned i = 0; i < count; i += 2)
        line(text, "%-*s  %s", EXIT_WORDS, cell[i], i + 1 < count ? cell[i + 1] : "");
}

size_t view_screen(const struct view *view, const char *why, char text[VIEW_TEXT])
{
    struct text out = { text, text, 0 };

    why_lines(&out, why);
    if (view->status < 0) {
        line(&out, "vcpu %u: its registers cannot be read: status %" PRId64, view->id,
             view->status);
    } else {
        const bool room = out.lines == 1;
        state_line(&out, view);
        general_lines(&out, view);
        segment_lines(&out, &view->sregs);
        if (room)
            lapic_line(&out, &view->lapic);
        code_line(&out, view);
    }
    exit_lines(&out, view);
    return (size_t)(out.at - out.start);
}

size_t view_line(const struct view *view, char text[VIEW_COLUMNS + 2])
{
    const struct vcpu_sregs *s = &view->sregs;
    struct text out = { text, text, 0 };

    if (view->status < 0)
        line(&out, "vcpu %u: its registers cannot be read: status %" PRId64, view->id,
             view->status);
    else
        line(&out, "vcpu %u: %04x:%016" PRIx64 " cr3=%016" PRIx64 " %s", view->id, s->cs.selector,
             s->rip, s->cr3, state_name(view->state));
    return (size_t)(out.at - out.start);
}
