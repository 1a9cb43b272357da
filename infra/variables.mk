# Variables that users set: what they may hold, and how they reach a command. Included by
# the Makefile.
#
# make splits at blanks, and so does the shell, which also runs what is in $(...). A
# source of images or a path of data is passed in quotes, so that it may hold almost
# anything. Names, numbers and RUN, which is part of targets, are letters, digits and
# few other characters. A list of flags is split at blanks alone: quotes have no meaning.

empty :=
blank := $(empty) $(empty)
tab := $(empty)	$(empty)
define line_break


endef

# One word for the shell; of a list, each word.
quote = '$(subst ','\'',$(1))'
quote_words = $(foreach word,$(1),$(call quote,$(word)))
# One word for make, and back.
pack = $(subst $(blank),~1,$(subst ~,~0,$(1)))
unpack = $(subst ~0,~,$(subst ~1,$(blank),$(1)))
# Whether the user has left a variable as it is.
is_default = $(filter file undefined default,$(origin $(1)))

# Neither names nor numbers have these, nor a path that make could have as a target.
RESERVED := " ' ` \ ; & | < > ( ) [ ] { } ? * ! = % ~ \#
refuse = $(error expected $(1)= $(2), got $(1)=$(value $(1)))

# $(call check_no_dollar,NAMES): what make would expand is refused if a user gives it.
check_no_dollar = $(foreach name,$(1),$(if $(call is_default,$(name)),,\
	$(if $(findstring $$,$(value $(name))),$(call refuse,$(name),without a dollar sign))))

# $(call check_text,NAMES): anything in one line.
check_text = $(foreach name,$(1),\
	$(if $(or $(findstring $(tab),$($(name))),$(findstring $(line_break),$($(name)))),\
		$(call refuse,$(name),in one line and without tabs)))

# $(call check_plain,NAMES): letters, digits and - + . , / @ ^ _ and the colon.
check_plain = $(call check_text,$(1))$(foreach name,$(1),\
	$(if $(findstring $(blank),$($(name))),$(call refuse,$(name),without blanks))\
	$(foreach character,$(RESERVED),$(if $(findstring $(character),$($(name))),\
		$(call refuse,$(name),without the character $(character)))))

# $(call check_sources,NAME): a list of sources, of which none has blanks.
check_sources = $(foreach word,$(filter-out tfds:% folder:% tfrecord:% webdataset:%,\
	$($(1))),$(call refuse,$(1),as sources separated by blanks (a path that has blanks \
	needs a link without)))

# What is left of a number without its digits: nothing, if it is a whole one.
without_digits = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(call without_5,$(1)))))))
without_5 = $(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$(1))))))
is_whole = $(if $(1),$(if $(call without_digits,$(1)),,whole))
is_decimal = $(and $(filter-out .,$(1)),$(if $(filter-out .,$(call without_digits,$(1))),,decimal))
# $(call check_given,TEST,NAMES,WORDS): the values of those that a user gives.
check_given = $(foreach name,$(2),$(if $(call is_default,$(name)),,\
	$(if $(call $(1),$($(name))),,$(call refuse,$(name),$(3)))))
# $(call check_whole,NAMES), from 0 on; $(call check_positive,NAMES), from 1 on.
check_whole = $(call check_given,is_whole,$(1),as a whole number of 0 or more)
is_positive = $(and $(call is_whole,$(1)),$(subst 0,,$(1)))
check_positive = $(call check_given,is_positive,$(1),as a whole number of 1 or more)
check_decimal = $(call check_given,is_decimal,$(1),as a number such as 0.5)

# $(call check_known,NAMES): nothing else is given on the command line.
check_known = $(foreach name,$(.VARIABLES),$(if $(and \
	$(filter command,$(origin $(name))),$(if $(filter $(1),$(name)),,unknown)),\
	$(error expected no variable $(name)=; there are $(sort $(1)))))
